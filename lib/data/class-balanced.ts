import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { RandomStream } from '../random.js';
import { type BatchPlan, checkCount, STREAM } from './batch-plan.js';
import { ClassIndex, firstNotBelow } from './class-index.js';

/** Steps whose rows are read together: what lies anywhere gains little. */
export const RANDOM_READ_AHEAD = 8;

/** Options of {@link classBalanced}. */
export interface ClassBalancedOptions {
  /** Int32Array [N], the identity of each row; rows with a negative label are never drawn. */
  readonly labels: Int32Array;
  /** Rows per step. */
  readonly batch: number;
  /** A whole number; default 0. */
  readonly seed?: number | undefined;
  /**
   * How much the number n of its rows counts for an identity, in [0, 1]: it is drawn with
   * probability ∝ n^power. Default 0, all alike; 1 is drawing from the rows as they are.
   */
  readonly power?: number | undefined;
}

/**
 * Rows drawn by identity, with replacement: first an identity y with probability
 *
 *     P(y) = n_y^power / Σ_j n_j^power,   n_y the number of its rows
 *
 * then one of its rows, each alike. With power 0 an identity of three rows is seen as often as one
 * of three hundred; 0.5 is a compromise for long tails. An epoch has as many steps as it takes to
 * draw N rows.
 *
 * @param options `labels` and `batch`; defaults: seed 0, power 0.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the option.
 * @example
 * const plan = classBalanced({ labels, batch: 256, power: 0.5 });
 */
export function classBalanced(options: ClassBalancedOptions): BatchPlan {
  const name = 'classBalanced';
  const read = readOptions<ClassBalancedOptions>(name, options, [
    'labels',
    'batch',
    'seed',
    'power',
  ]);
  const index = new ClassIndex(name, read.labels);
  const batch = checkCount(name, 'batch', read.batch);
  const seed = checkCount(name, 'seed', read.seed ?? 0, 0);
  const power = read.power ?? 0;
  if (typeof power !== 'number' || !(power >= 0 && power <= 1)) {
    throw invalidArgument(name, 'options.power', 'in [0, 1]', power);
  }
  const sums = cumulativeWeights(index, power);
  return {
    stepsPerEpoch: Math.ceil(index.rows.length / batch),
    readAhead: RANDOM_READ_AHEAD,
    rowsOf(step) {
      const random = new RandomStream(seed, STREAM.balanced, step);
      return Int32Array.from({ length: batch }, () => {
        const mark = random.nextUniform() * sums.at(-1)!;
        const rows = index.rowsOf(
          firstNotBelow(sums.length, (position) => sums[position]! <= mark),
        );
        return rows[random.nextBelow(rows.length)]!;
      });
    },
  };
}

/** Σ n^power over the identities up to each. */
function cumulativeWeights(index: ClassIndex, power: number): Float64Array {
  const sums = new Float64Array(index.count);
  let sum = 0;
  for (let identity = 0; identity < index.count; identity += 1) {
    sum += index.rowsOf(identity).length ** power;
    sums[identity] = sum;
  }
  return sums;
}
