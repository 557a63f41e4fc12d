import { invalidArgument } from '../errors.js';
import { readArray } from '../typed-arrays.js';

/**
 * Which rows each training step takes. The rows follow from the plan and the step alone, so the
 * number of the next step is all that has to be saved to go on where a run stopped.
 */
export interface BatchPlan {
  /** Steps of one epoch. */
  readonly stepsPerEpoch: number;
  /**
   * Steps whose rows are read together, counted from the start of an epoch: they lie side by side
   * in the files, or are few.
   */
  readonly readAhead: number;
  /** Int32Array of the rows of a step (a whole number from 0 on); the caller does not change it. */
  rowsOf(step: number): Int32Array;
}

/** Purposes of random streams, apart from each other and from those of the command line. */
export const STREAM = {
  blocks: 101,
  withinGroup: 102,
  balanced: 103,
  identities: 104,
  samples: 105,
} as const;

/** Checks an option that counts something; returns it. */
export function checkCount(
  functionName: string,
  option: string,
  value: unknown,
  least = 1,
): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) {
    return value as number;
  }
  throw invalidArgument(
    functionName,
    `options.${option}`,
    `a whole number >= ${least}`,
    value,
  );
}

/** Rows to draw from: the first N, or those of a list. */
export type RowChoice = number | Int32Array;

/** Checks `options.rows`; returns their number and the row at each position. */
export function readRowChoice(functionName: string, rows: unknown) {
  const list = readArray(rows, 'Int32Array');
  if (list !== undefined && list.length > 0) {
    const copy = list.slice();
    return { count: copy.length, rowAt: (index: number) => copy[index]! };
  }
  if (
    Number.isInteger(rows) &&
    (rows as number) > 0 &&
    (rows as number) < 2 ** 31
  ) {
    return { count: rows as number, rowAt: (index: number) => index };
  }
  throw invalidArgument(
    functionName,
    'options.rows',
    'a number of rows in [1, 2^31) or an Int32Array of rows',
    rows,
  );
}

/** Keeps the last result: steps are asked for in order. */
export function cached<Result>(
  compute: (epoch: number, index: number) => Result,
): (epoch: number, index: number) => Result {
  let last: { epoch: number; index: number; result: Result } | undefined;
  return (epoch, index) => {
    if (last?.epoch !== epoch || last.index !== index) {
      last = { epoch, index, result: compute(epoch, index) };
    }
    return last.result;
  };
}
