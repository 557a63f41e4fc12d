import { readOptions } from '../options.js';
import {
  type BatchPlan,
  checkCount,
  type RowChoice,
  readRowChoice,
} from './batch-plan.js';

/** Rows read together. */
const READ_ROWS = 4096;

/** Options of {@link sequential}. */
export interface SequentialOptions {
  /** Number of rows, or the rows to take, in their order. */
  readonly rows: RowChoice;
  /** Rows per step; the last step of an epoch takes what is left. */
  readonly batch: number;
}

/**
 * Rows in order: for evaluation, and for `head.reinitialize`.
 *
 * @param options `rows` and `batch`; there are no defaults.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the option.
 * @example
 * const plan = sequential({ rows: dataset.count, batch: 1024 });
 * await head.reinitialize(embeddingBatches(dataset, labels, plan));
 */
export function sequential(options: SequentialOptions): BatchPlan {
  const name = 'sequential';
  const read = readOptions<SequentialOptions>(name, options, ['rows', 'batch']);
  const { count, rowAt } = readRowChoice(name, read.rows);
  const batch = checkCount(name, 'batch', read.batch);
  const stepsPerEpoch = Math.ceil(count / batch);
  return {
    stepsPerEpoch,
    readAhead: Math.max(1, Math.floor(READ_ROWS / batch)),
    rowsOf(step) {
      const first = (step % stepsPerEpoch) * batch;
      const length = Math.min(batch, count - first);
      return Int32Array.from({ length }, (_, index) => rowAt(first + index));
    },
  };
}
