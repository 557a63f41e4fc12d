import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { native } from '../native.js';
import { readOptions } from '../options.js';
import type { RealInput } from '../tensor.js';
import { readArray } from '../typed-arrays.js';
import type { TrialList } from './parse-trials.js';
import {
  countScores,
  type RawScores,
  type TrialScores,
} from './trial-scores.js';

/** A list of T trials by rows of the embeddings, checked and copied. */
export interface TrialRows {
  readonly genuine: Uint8Array;
  readonly enrolment: Int32Array;
  readonly test: Int32Array;
}

/** Finds the rows that the trials of a list compare. */
export function rowsOfTrials(
  functionName: string,
  trials: TrialList,
  names: readonly string[] | undefined,
  rows: number,
): TrialRows {
  const {
    genuine,
    enrolment,
    test,
    names: listed,
  } = checkTrials(functionName, trials);
  const rowOf = rowsOfNames(functionName, listed, names, rows);
  const toRows = (side: 'enrolment' | 'test', positions: Int32Array) =>
    positions.map((position, trial) => {
      const limit = rowOf?.length ?? rows;
      if (position < 0 || position >= limit) {
        throw invalidArgument(
          functionName,
          `trials.${side}[${trial}]`,
          `a whole number >= 0 and < ${limit}`,
          position,
        );
      }
      return rowOf === undefined ? position : rowOf[position]!;
    });
  return {
    genuine,
    enrolment: toRows('enrolment', enrolment),
    test: toRows('test', test),
  };
}

/** Cosines of the trials of a list, in its order: float64 from the originals, rounded once. */
export async function cosinesOfTrials(
  { data, dims }: RealInput,
  { enrolment, test }: TrialRows,
  cancel: Int32Array,
): Promise<Float32Array> {
  const cosines = new Float32Array(enrolment.length);
  const dim = dims[1]!;
  await native().pairCosines(data, dim, enrolment, test, cosines, cancel);
  return cosines;
}

/** Counts scores in the order of a list by the labels of its trials. */
export function countListedScores(
  functionName: string,
  scores: RawScores,
  genuine: Uint8Array,
): TrialScores {
  return countScores(
    functionName,
    scores.filter((_, trial) => genuine[trial] === 1),
    scores.filter((_, trial) => genuine[trial] === 0),
  );
}

/** Checked copies of the arrays of a list that may not come from readTrials. */
function checkTrials(functionName: string, trials: TrialList): TrialList {
  const { names, ...given } = readOptions<TrialList>(
    functionName,
    trials,
    ['genuine', 'enrolment', 'test', 'names'],
    'trials',
  );
  const genuine = readArray(given.genuine, 'Uint8Array')?.slice();
  const enrolment = readArray(given.enrolment, 'Int32Array')?.slice();
  const test = readArray(given.test, 'Int32Array')?.slice();
  if (
    genuine === undefined ||
    enrolment?.length !== genuine.length ||
    test?.length !== genuine.length ||
    !(names === undefined || Array.isArray(names))
  ) {
    throw invalidArgument(
      functionName,
      'trials',
      'a trial list (of readTrials): genuine, enrolment and test of one length',
      trials,
    );
  }
  checkLabels(functionName, genuine);
  return { genuine, enrolment, test, ...(names && { names }) };
}

/** Refuses labels of trials other than 0 and 1. */
export function checkLabels(functionName: string, genuine: Uint8Array): void {
  const other = genuine.findIndex((label) => label > 1);
  if (other < 0) return;
  throw invalidArgument(
    functionName,
    `trials.genuine[${other}]`,
    '0 or 1',
    genuine[other],
  );
}

/** Row of each name of the list; undefined when the list itself holds rows. */
function rowsOfNames(
  functionName: string,
  listed: readonly string[] | undefined,
  names: readonly string[] | undefined,
  rows: number,
): Int32Array | undefined {
  const rowByName =
    names === undefined ? undefined : indexNames(functionName, names, rows);
  if (listed === undefined) {
    if (names === undefined) return undefined;
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${functionName}: expected names to be left out (the trials hold row numbers, not names) but received ${describe(names)}`,
    );
  }
  return Int32Array.from({ length: listed.length }, (_, index) => {
    const name: unknown = listed[index];
    if (typeof name !== 'string') {
      const argument = `trials.names[${index}]`;
      throw invalidArgument(functionName, argument, 'a string', name);
    }
    const row =
      rowByName?.get(name) ??
      (names === undefined && /^\d+$/.test(name) ? Number(name) : -1);
    if (row >= 0 && row < rows) return row;
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      names === undefined
        ? `${functionName}: expected every name in trials to be a row number below ${rows} (or names to be given) but received ${describe(name)}`
        : `${functionName}: expected names to hold every name in trials but received none that is ${describe(name)}`,
    );
  });
}

/** Row by name, one name for each row of the embeddings. */
function indexNames(
  functionName: string,
  names: readonly string[],
  rows: number,
): Map<string, number> {
  if (!Array.isArray(names) || names.length !== rows) {
    throw invalidArgument(
      functionName,
      'names',
      `one name for each of ${rows} rows`,
      names,
    );
  }
  const index = new Map<string, number>();
  for (let row = 0; row < rows; row += 1) {
    const name: unknown = names[row];
    if (typeof name !== 'string' || index.has(name)) {
      throw invalidArgument(
        functionName,
        `names[${row}]`,
        'a string that no row before it has',
        name,
      );
    }
    index.set(name, row);
  }
  return index;
}
