import { tarAtFar } from './tar-at-far.js';
import type { TrialScores } from './trial-scores.js';

/** False accept rates a threshold can be chosen for: nine a decade, 1e-6 … 0.5. */
export const CHOOSABLE_RATES: readonly number[] = Object.freeze(
  [-6, -5, -4, -3, -2, -1].flatMap((exponent) =>
    Array.from({ length: exponent === -1 ? 5 : 9 }, (_, index) =>
      // From text: the product 3 · 1e-6 is not the number nearest to 3e-6.
      Number(`${index + 1}e${exponent}`),
    ),
  ),
);

/** Where a system stands when its false accept rate may be at most `far`. */
export interface OperatingPoint {
  /** Decimal that accepts the same trials as the threshold; +∞ accepts none. */
  readonly threshold: number;
  /** Share of the genuine pairs accepted. */
  readonly tar: number;
  /** Impostor pairs accepted. */
  readonly falseAccepts: number;
  /** Impostor pairs accepted of a million, at this threshold. */
  readonly falseAcceptsPerMillion: number;
}

/**
 * Operating points of a system, one for each rate, as {@link tarAtFar} finds them;
 * null where there are too few impostor pairs.
 */
export function operatingPoints(
  scores: TrialScores,
  rates: readonly number[],
): (OperatingPoint | null)[] {
  return tarAtFar(scores, rates).map((point) =>
    point.tar === null
      ? null
      : {
          threshold: shortestThreshold(scores, point.threshold),
          tar: point.tar,
          falseAccepts: point.falseAccepts,
          falseAcceptsPerMillion:
            (1e6 * point.falseAccepts) / scores.impostorPairs,
        },
  );
}

/** Position of a threshold among the distinct ones, which descend; −1 for +∞. */
export function levelOf(scores: TrialScores, threshold: number): number {
  let [low, high] = [-1, scores.thresholds.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (scores.thresholds[middle]! >= threshold) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * The shortest decimal, of at least four places, that accepts the same trials:
 * rounded down, never to the next score. Rounding to nearest could reject a
 * genuine pair or accept one impostor too many when the number is copied.
 */
function shortestThreshold(scores: TrialScores, threshold: number): number {
  const level = levelOf(scores, threshold);
  if (level < 0) return threshold;
  const next = scores.thresholds[level + 1] ?? Number.NEGATIVE_INFINITY;
  for (let places = 4; places <= 15; places += 1) {
    const unit = 10 ** places;
    const rounded = Math.floor(threshold * unit) / unit;
    if (rounded > next && rounded <= threshold) return rounded;
  }
  return threshold;
}
