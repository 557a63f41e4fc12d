import { checkFinite, copyScores } from './checks.js';

/**
 * Scores of a set of verification trials, as every metric here reads them: the
 * distinct thresholds at which a decision changes, with the trials at each.
 *
 * A trial is accepted iff score ≥ threshold, so the trials accepted at
 * `thresholds[i]` are those counted at positions 0 … i, and
 *
 *     FAR(thresholds[i]) = Σ_{k ≤ i} impostorCounts[k] / impostorPairs
 *     TAR(thresholds[i]) = Σ_{k ≤ i} genuineCounts[k]  / genuinePairs
 *
 * Two representations fit this one type. *Exact* scores have `resolution` 0 and
 * one threshold per distinct score. *Binned* scores have one threshold per
 * non-empty bin, its lower edge, and `resolution` is the width of a bin: the
 * rates at the listed thresholds are still those of the single scores, only
 * thresholds in between are not available.
 */
export interface TrialScores {
  /** Number of trials of one identity. */
  readonly genuinePairs: number;
  /** Number of trials of two identities. */
  readonly impostorPairs: number;
  /** Distance between neighbouring thresholds at best; 0 when exact. */
  readonly resolution: number;
  /** [L], strictly descending. */
  readonly thresholds: Float64Array;
  /** [L], genuine trials at each threshold and below the one before. */
  readonly genuineCounts: Float64Array;
  /** [L], impostor trials at each threshold and below the one before. */
  readonly impostorCounts: Float64Array;
}

/** Scores as other software delivers them, in any order. */
export type RawScores = Float32Array | Float64Array;

/**
 * Makes {@link TrialScores} from scores that were computed elsewhere. Any finite
 * scale will do (cosines, log-likelihood ratios); higher means more alike.
 *
 * Exact: `resolution` is 0 and equal scores share one threshold. An empty array
 * is allowed; a metric that needs the missing kind of trial says so.
 *
 * @param genuine Scores of the trials of one identity, any length.
 * @param impostor Scores of the trials of two identities, any length.
 * @returns The scores, sorted and counted; the arguments are not changed.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an argument is no
 *   Float32Array or Float64Array; `ERR_NON_FINITE` when it holds NaN or ±∞.
 * @example
 * import { eer, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * console.log(eer(scores).rate); // 0.3333333333333333
 */
export function trialScoresFrom(
  genuine: RawScores,
  impostor: RawScores,
): TrialScores {
  const name = 'trialScoresFrom';
  return countScores(
    name,
    copyScores(name, 'genuine', genuine),
    copyScores(name, 'impostor', impostor),
  );
}

/** Sorts both arrays in place and counts the trials at each distinct score. */
export function countScores(
  functionName: string,
  genuine: RawScores,
  impostor: RawScores,
): TrialScores {
  checkFinite(functionName, 'genuine', genuine);
  checkFinite(functionName, 'impostor', impostor);
  genuine.sort();
  impostor.sort();
  // Walking the merged scores twice costs less than arrays of the worst length.
  const length = mergeDescending(genuine, impostor, null);
  const scores = {
    genuinePairs: genuine.length,
    impostorPairs: impostor.length,
    resolution: 0,
    thresholds: new Float64Array(length),
    genuineCounts: new Float64Array(length),
    impostorCounts: new Float64Array(length),
  };
  mergeDescending(genuine, impostor, scores);
  return scores;
}

/** Visits the distinct scores from the highest down; returns how many there are. */
function mergeDescending(
  genuine: RawScores,
  impostor: RawScores,
  into: TrialScores | null,
): number {
  let level = 0;
  let g = genuine.length - 1;
  let i = impostor.length - 1;
  while (g >= 0 || i >= 0) {
    const score = Math.max(
      g >= 0 ? genuine[g]! : Number.NEGATIVE_INFINITY,
      i >= 0 ? impostor[i]! : Number.NEGATIVE_INFINITY,
    );
    const genuineBefore = g;
    const impostorBefore = i;
    while (g >= 0 && genuine[g] === score) g -= 1;
    while (i >= 0 && impostor[i] === score) i -= 1;
    if (into !== null) {
      into.thresholds[level] = score + 0; // −0 and 0 are one score, shown as 0
      into.genuineCounts[level] = genuineBefore - g;
      into.impostorCounts[level] = impostorBefore - i;
    }
    level += 1;
  }
  return level;
}
