import type { LossSpecification } from '../../lib/index.js';

/**
 * A second implementation of the maths in float64, written from the definitions: slow, and
 * simple enough to be checked by reading. Nothing here is shared with the addon.
 */

/** One row's posterior and its threshold τ. */
export interface ReferencePosterior {
  readonly posterior: number[];
  readonly threshold: number;
}

/** p_j = q_j [(α−1)(θ_j − θ_max) + r]_+^{1/(α−1)}; the unknown r is θ_max − τ in other units. */
function powers(gaps: number[], q: number[], alpha: number, r: number) {
  return gaps.map((gap, j) =>
    r > gap ? q[j]! * (r - gap) ** (1 / (alpha - 1)) : 0,
  );
}

const sum = (values: number[]) => values.reduce((total, p) => total + p, 0);

/**
 * The posterior of one row of logits by bisection to neighbouring float64 numbers, between whose
 * posteriors it interpolates: for large α one ulp of the threshold moves a posterior visibly, and
 * the interpolation is what makes it sum to 1.
 */
export function referencePosterior(
  theta: number[],
  alpha: number,
  q: number[] = theta.map(() => 1),
): ReferencePosterior {
  const largest = Math.max(...theta);
  if (alpha === 1) {
    const shift = Math.max(...theta.map((value, j) => value + Math.log(q[j]!)));
    const terms = theta.map((value, j) =>
      Math.exp(value + Math.log(q[j]!) - shift),
    );
    const total = sum(terms);
    return {
      posterior: terms.map((term) => term / total),
      threshold: shift + Math.log(total),
    };
  }
  const gaps = theta.map((value) => (alpha - 1) * (largest - value));
  // Any one class alone reaches Σp = 1 at r = gap + q^{1−α}; at r = 0 every posterior is 0.
  // (The loop makes up for a q^{1−α} that is lost in the rounding of the gap.)
  let upper = Math.min(...gaps.map((gap, j) => gap + q[j]! ** (1 - alpha)));
  // Most classes have nothing there, so nothing below; the factor covers the loop.
  const near = gaps.map((_, j) => j).filter((j) => gaps[j]! < 2 * upper);
  const [nearGaps, nearQ] = [near.map((j) => gaps[j]!), near.map((j) => q[j]!)];
  const mass = (r: number) => sum(powers(nearGaps, nearQ, alpha, r));
  while (mass(upper) < 1) upper *= 1 + Number.EPSILON;
  let lower = 0;
  // Halving r itself finds roots of any size; halving the bracket finds all their digits.
  for (;;) {
    const middle = lower > 0 ? lower + (upper - lower) / 2 : upper / 2;
    if (!(middle > lower && middle < upper)) break;
    if (mass(middle) >= 1) upper = middle;
    else lower = middle;
  }
  const above = powers(gaps, q, alpha, upper);
  const below = powers(gaps, q, alpha, lower);
  const [most, least] = [sum(above), sum(below)];
  const mix = most > least ? Math.min(1, (1 - least) / (most - least)) : 1;
  return {
    posterior: above.map((p, j) => below[j]! + mix * (p - below[j]!)),
    threshold: largest + (1 - upper) / (alpha - 1),
  };
}

/** ψ(c) − m3 and its derivative: the margins of the logits, continued monotonically beyond π. */
export function referenceTarget(loss: LossSpecification, cosine: number) {
  const { angleFactor, angularMargin, cosineMargin, detachMargin } = loss;
  if (angleFactor === 1 && angularMargin === 0) {
    return { value: cosine - cosineMargin, derivative: 1 };
  }
  const guarded = Math.min(1 - 1e-7, Math.max(-1 + 1e-7, cosine));
  const angle = Math.acos(guarded);
  const widened = angleFactor * angle + angularMargin;
  // Every half turn mirrors the cosine and puts it below the last one's end.
  const turns = Math.floor(widened / Math.PI);
  const sign = turns % 2 === 0 ? 1 : -1;
  return {
    value: sign * Math.cos(widened) - 2 * turns - cosineMargin,
    derivative: detachMargin
      ? 1
      : (angleFactor * sign * Math.sin(widened)) / Math.sin(angle),
  };
}

/** What the reference says about one row of cosines. */
export interface ReferenceRow extends ReferencePosterior {
  readonly loss: number;
  readonly gradCosines: number[];
}

/** D_f(p : q) without the terms that every p of sum 1 has in common. */
function divergence(p: number[], q: number[], alpha: number): number {
  return sum(
    p.map((value, j) => {
      if (value === 0) return 0;
      return alpha === 1
        ? value * Math.log(value / q[j]!)
        : (q[j]! ** (1 - alpha) * value ** alpha) / (alpha * (alpha - 1));
    }),
  );
}

/** Loss of one row and its gradient, from the definitions: see maths.md, "Posterior and loss". */
export function referenceRow(
  loss: LossSpecification,
  cosines: number[],
  label: number,
  reference: ArrayLike<number> | null = null,
): ReferenceRow {
  const { alpha, scale } = loss;
  const target = referenceTarget(loss, cosines[label]!);
  // The inter-top-K penalty, by sorting: ties go to the smaller class.
  const top = new Set(
    loss.interTopK === 0
      ? []
      : cosines
          .map((_, j) => j)
          .filter((j) => j !== label)
          .sort((a, b) => cosines[b]! - cosines[a]! || a - b)
          .slice(0, loss.interTopK),
  );
  const theta = cosines.map(
    (cosine, j) =>
      scale *
      (j === label
        ? target.value
        : cosine + (top.has(j) ? loss.interTopKPenalty : 0)),
  );
  const q = theta.map(
    (_, j) =>
      (reference?.[j] ?? 1) *
      (j === label ? Math.exp(-scale * loss.measureMargin) : 1),
  );
  const { posterior, threshold } = referencePosterior(theta, alpha, q);
  const oneHot = theta.map((_, j) => (j === label ? 1 : 0));
  const excess = sum(posterior.map((p, j) => p * (theta[j]! - theta[label]!)));
  const others = sum(posterior.map((p, j) => (j === label ? 0 : p)));
  // Label smoothing moves ε of the target distribution to all classes alike.
  const epsilon = loss.labelSmoothing;
  const share = epsilon / theta.length;
  const logits = theta.map((t, j) => t + Math.log(q[j]!));
  const pull = others - share * (theta.length - 1);
  return {
    posterior,
    threshold,
    loss:
      excess +
      divergence(oneHot, q, alpha) -
      divergence(posterior, q, alpha) +
      (epsilon === 0 ? 0 : epsilon * logits[label]! - share * sum(logits)),
    gradCosines: posterior.map((p, j) =>
      j === label ? -scale * pull * target.derivative : scale * (p - share),
    ),
  };
}
