import { AlphaMarginError, invalidArgument } from '../errors.js';
import { type RealInput, readRealTensor } from '../tensor.js';
import { readArray } from '../typed-arrays.js';
import type { RawScores, TrialScores } from './trial-scores.js';

/** Reads rows of at least one number, [N, D]. */
export function readRows(
  functionName: string,
  argument: string,
  value: unknown,
): RealInput {
  const input = readRealTensor(functionName, argument, value, 2);
  if (input.dims[1]! > 0) return input;
  throw invalidArgument(functionName, `${argument}.dims[1]`, 'at least 1', 0);
}

/** A copy of scores as other software delivers them. */
export function copyScores(
  functionName: string,
  argument: string,
  value: unknown,
): RawScores {
  const own = readArray(value, 'Float32Array', 'Float64Array');
  if (own !== undefined) return own.slice();
  const expected = 'a Float32Array or a Float64Array';
  throw invalidArgument(functionName, argument, expected, value);
}

/** A copy of finite scores, one for each trial of a list. */
export function copyListedScores(
  functionName: string,
  value: unknown,
  trials: number,
): RawScores {
  const scores = copyScores(functionName, 'scores', value);
  if (scores.length !== trials) {
    throw invalidArgument(
      functionName,
      'scores',
      `one score for each of ${trials} trials`,
      scores,
    );
  }
  checkFinite(functionName, 'scores', scores);
  return scores;
}

/** Refuses NaN and infinities: no threshold could order them. */
export function checkFinite(
  functionName: string,
  argument: string,
  scores: RawScores,
): void {
  for (let index = 0; index < scores.length; index += 1) {
    if (!Number.isFinite(scores[index])) {
      throw new AlphaMarginError(
        'ERR_NON_FINITE',
        `${functionName}: expected ${argument}[${index}] to be a finite score but received ${scores[index]}`,
      );
    }
  }
}

/** Checks that an argument is a {@link TrialScores}. */
export function checkScores(
  functionName: string,
  argument: string,
  value: unknown,
): TrialScores {
  const given: Partial<TrialScores> = Object(value);
  const { genuinePairs, impostorPairs, resolution } = given;
  const arrays = { ...given };
  const arrayOf = (name: 'thresholds' | 'genuineCounts' | 'impostorCounts') =>
    readArray(arrays[name], 'Float64Array');
  const thresholds = arrayOf('thresholds');
  const genuineCounts = arrayOf('genuineCounts');
  const impostorCounts = arrayOf('impostorCounts');
  if (
    thresholds === undefined ||
    genuineCounts?.length !== thresholds.length ||
    impostorCounts?.length !== thresholds.length ||
    ![genuinePairs, impostorPairs, resolution].every(Number.isFinite)
  ) {
    throw invalidArgument(
      functionName,
      argument,
      'trial scores (of scoreTrials or trialScoresFrom)',
      value,
    );
  }
  return {
    genuinePairs: genuinePairs!,
    impostorPairs: impostorPairs!,
    resolution: resolution!,
    thresholds,
    genuineCounts,
    impostorCounts,
  };
}

/** Checks that scores hold both kinds of trials: without one, a rate is 0/0. */
export function checkBothKinds(
  functionName: string,
  argument: string,
  value: unknown,
): TrialScores {
  const scores = checkScores(functionName, argument, value);
  for (const kind of ['genuinePairs', 'impostorPairs'] as const) {
    if (!(scores[kind] >= 1)) {
      throw invalidArgument(
        functionName,
        `${argument}.${kind}`,
        'at least 1',
        scores[kind],
      );
    }
  }
  return scores;
}

/** Checks that an argument is a number in the open interval (0, limit). */
export function checkBetween(
  functionName: string,
  argument: string,
  value: unknown,
  limit: number,
): number {
  if (typeof value !== 'number' || !(value > 0 && value < limit)) {
    throw invalidArgument(
      functionName,
      argument,
      limit === Number.POSITIVE_INFINITY
        ? 'a finite number > 0'
        : `a number > 0 and < ${limit}`,
      value,
    );
  }
  return value;
}
