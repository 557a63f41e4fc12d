import { invalidArgument } from './errors.js';
import { checkAlpha } from './loss-specification.js';
import { checkNumber } from './number-checks.js';
import { readOptions } from './options.js';
import { tensor, type Vector } from './tensor.js';
import { readArray } from './typed-arrays.js';

/** Options of {@link referenceFromCounts}. */
export interface ReferenceFromCountsOptions {
  /** Divergence order α ≥ 1 of the loss that the measure is for. */
  alpha: number;
  /** Exponent τ ≥ 0 of the counts. Default 1. */
  exponent?: number | undefined;
}

/** Samples of each class: whole numbers, or shares of any sum. */
export type CountsLike =
  | readonly number[]
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** Measures that float32 holds with all their digits. */
const [SMALLEST, LARGEST] = [2 ** -126, 2 ** 127];

/**
 * Reference measure of unevenly frequent classes, for the `reference` of losses and heads:
 *
 *     q_j = (n_j)^τ / a,   a such that the mean over the classes of q_j^(α−1) is 1
 *     (α = 1: the mean of log q_j is 0)
 *
 * At α = 1 the loss is the logit-adjusted cross-entropy, softmax of θ_j + τ·log n_j, whatever a is.
 *
 * For α > 1 a matters, since q → a·q is a temperature: θ → a^(α−1)·θ. p_j^(α−1) grows with θ_j at
 * the rate (α−1)·q_j^(α−1), so that power is the temperature of a single class, and the measure
 * returned leaves its mean where q = 1 has it. Equal counts give q = 1 exactly; counts and any
 * multiple of them give the same measure; and α → 1 goes over into the geometric mean. Normalising
 * to a sum of 1 instead would take the temperature from 1 to about C^(1−α) and the sparsity with it.
 *
 * The gap at which a row's loss becomes 0 is q_y^(1−α)·Γ/β: rare classes are asked for more. Gaps
 * beyond 2 cannot be reached, so large α and very uneven counts call for a τ below 1.
 *
 * q must be positive. A class without samples gets the measure of the rarest class with some: it
 * stays a class, and the measure does not depend on the unit of the counts.
 *
 * @param counts n [C], ≥ 0 and finite, not all 0.
 * @param options `alpha` of the loss, `exponent` τ.
 * @returns q [C].
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, also when a measure would leave float32.
 * @see Menon et al. 2021, *Long-tail learning via logit adjustment*, arXiv 2007.07314.
 * @example
 * const reference = referenceFromCounts([120, 30, 4], { alpha: 1.25, exponent: 0.5 });
 */
export function referenceFromCounts(
  counts: CountsLike,
  options: ReferenceFromCountsOptions,
): Vector {
  const name = 'referenceFromCounts';
  const given = readOptions<ReferenceFromCountsOptions>(name, options, [
    'alpha',
    'exponent',
  ]);
  const alpha = checkAlpha(name, given.alpha);
  const exponent = checkNumber(
    name,
    'exponent',
    given.exponent ?? 1,
    'a finite number >= 0',
    (value) => value >= 0,
  );
  const logarithms = logarithmsOf(name, counts).map((log) => exponent * log);
  const centre = logarithmOfMean(logarithms, alpha - 1);
  const measure = Float32Array.from(logarithms, (log, index) => {
    const value = Math.exp(log - centre);
    if (value >= SMALLEST && value <= LARGEST) return value;
    throw invalidArgument(
      name,
      'exponent',
      `small enough for float32 measures (class ${index})`,
      exponent,
    );
  });
  return tensor(measure, [measure.length]);
}

/** log n, that of the rarest class with samples where there is none. */
function logarithmsOf(name: string, counts: CountsLike): number[] {
  const list: ArrayLike<number> | undefined = Array.isArray(counts)
    ? counts
    : readArray(
        counts,
        'Int32Array',
        'Uint32Array',
        'Float32Array',
        'Float64Array',
      );
  if (list === undefined || list.length === 0) {
    throw invalidArgument(
      name,
      'counts',
      'a number for each class, as an array or typed array',
      counts,
    );
  }
  const values = Array.from(list, (count, index) =>
    checkNumber(
      name,
      `counts[${index}]`,
      count,
      'a finite number >= 0',
      (value) => value >= 0,
    ),
  );
  const rarest = values.reduce(
    (least, count) => (count > 0 && count < least ? count : least),
    Number.POSITIVE_INFINITY,
  );
  if (rarest === Number.POSITIVE_INFINITY) {
    throw invalidArgument(name, 'counts', 'above 0 for some class', counts);
  }
  return values.map((count) => Math.log(count > 0 ? count : rarest));
}

/** log of the power mean of order r of exp(log): (mean of exp(r·log))^(1/r), geometric at r = 0. */
function logarithmOfMean(logarithms: number[], r: number): number {
  // Centred at the mean, both the sum and a small r keep their digits.
  const mean =
    logarithms.reduce((sum, log) => sum + log, 0) / logarithms.length;
  if (r === 0) return mean;
  const largest = logarithms.reduce((most, log) => Math.max(most, log));
  if (r * (largest - mean) < 1) {
    const excess = logarithms.reduce(
      (sum, log) => sum + Math.expm1(r * (log - mean)),
      0,
    );
    return mean + Math.log1p(excess / logarithms.length) / r;
  }
  const total = logarithms.reduce(
    (sum, log) => sum + Math.exp(r * (log - largest)),
    0,
  );
  return largest + Math.log(total / logarithms.length) / r;
}
