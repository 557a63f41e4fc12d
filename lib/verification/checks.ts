import { invalidArgument } from '../errors.js';
import { readArray } from '../typed-arrays.js';
import type { TrialScores } from './trial-scores.js';

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
