import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { native } from '../native.js';
import type { RealInput } from '../tensor.js';
import { readArray } from '../typed-arrays.js';
import type { TrialList } from './parse-trials.js';
import { countScores, type TrialScores } from './trial-scores.js';

/** Scores of listed trials, each one kept. */
export async function scoreListedTrials(
  functionName: string,
  embeddings: RealInput,
  trials: TrialList,
  names: readonly string[] | undefined,
  cancel: Int32Array,
): Promise<TrialScores> {
  const {
    genuine,
    enrolment,
    test,
    names: listed,
  } = checkTrials(functionName, trials);
  const [rows = 0, dim = 0] = embeddings.dims;
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
  const cosines = new Float32Array(genuine.length);
  await native().pairCosines(
    embeddings.data,
    dim,
    toRows('enrolment', enrolment),
    toRows('test', test),
    cosines,
    cancel,
  );
  return countScores(
    functionName,
    cosines.filter((_, trial) => genuine[trial] === 1),
    cosines.filter((_, trial) => genuine[trial] === 0),
  );
}

/** Checked copies of the arrays of a list that may not come from readTrials. */
function checkTrials(functionName: string, trials: TrialList): TrialList {
  const { names, ...given } = trials ?? {};
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
  const other = genuine.findIndex((label) => label > 1);
  if (other >= 0) {
    throw invalidArgument(
      functionName,
      `trials.genuine[${other}]`,
      '0 or 1',
      genuine[other],
    );
  }
  return { genuine, enrolment, test, ...(names && { names }) };
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
