import { invalidArgument } from '../errors.js';
import { readArray } from '../typed-arrays.js';
import { copyListedScores } from './checks.js';
import { checkLabels, countListedScores } from './listed-trials.js';
import type { TrialList } from './parse-trials.js';
import type { RawScores, TrialScores } from './trial-scores.js';

/**
 * Makes {@link TrialScores} from scores in the order of a trial list: those of
 * {@link trialCosines}, of {@link normalizeScores}, a fusion of several systems, or another
 * program's. Any finite scale will do; higher means more alike.
 *
 * Exact: `resolution` is 0 and equal scores share one threshold.
 *
 * @param scores [T], one for each trial.
 * @param trials The list, or any object with its `genuine`: for each trial 1 for one identity, 0 for
 *   two.
 * @returns The scores, sorted and counted, for {@link summarize}, {@link tarAtFar}, {@link eer},
 *   {@link minDcf}, plots and reports; the arguments are not changed.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another type, another number of scores or a
 *   label other than 0 and 1; `ERR_NON_FINITE` naming a score that is NaN or ±∞.
 * @example
 * import { eer, parseTrials, trialScoresFromList } from 'alphamargin/verification';
 * const trials = parseTrials('1 a b\n0 a c\n0 b c\n');
 * const scores = trialScoresFromList(Float64Array.of(2.5, -1, 0.5), trials);
 * console.log(eer(scores).rate); // 0
 */
export function trialScoresFromList(
  scores: RawScores,
  trials: Pick<TrialList, 'genuine'>,
): TrialScores {
  const name = 'trialScoresFromList';
  const given: unknown = (trials as Partial<TrialList> | null)?.genuine;
  const genuine = readArray(given, 'Uint8Array')?.slice();
  if (genuine === undefined) {
    const expected = 'a trial list, or { genuine } of a Uint8Array';
    throw invalidArgument(name, 'trials', expected, given ?? trials);
  }
  checkLabels(name, genuine);
  const own = copyListedScores(name, scores, genuine.length);
  return countListedScores(name, own, genuine);
}
