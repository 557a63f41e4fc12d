import { checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** Where false accepts and false rejects are equally frequent. */
export interface EqualErrorRate {
  /** The equal error rate, in [0, 1]. */
  readonly rate: number;
  /** Threshold whose two rates differ least (the lower one when two tie). */
  readonly threshold: number;
}

/**
 * Equal error rate: the value at which false accept rate and false reject rate
 * (1 − TAR) meet.
 *
 * The operating points P_k = (FAR_k, FRR_k) of {@link roc} run from (0, 1) to
 * (1, 0), and d_k = FAR_k − FRR_k grows strictly from −1 to 1. Let k be the first
 * point with d_k ≥ 0. The rate is read off the straight line from P_{k−1} to P_k:
 *
 *     λ = −d_{k−1} / (d_k − d_{k−1}),   EER = FAR_{k−1} + λ (FAR_k − FAR_{k−1})
 *
 * No convex hull is taken, so the value is that of the system as it decides. It
 * does not change when all scores are negated and the two kinds exchanged.
 * Perfect separation gives 0; all scores equal give 1/2.
 *
 * @param scores Trials with at least one genuine and one impostor pair.
 * @returns The rate, and the threshold nearest to it.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when there is no genuine pair or
 *   no impostor pair.
 * @example
 * import { eer, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float64Array.of(0.9, 0.7, 0.4),
 *   Float64Array.of(0.5, 0.1, -0.2),
 * );
 * console.log(eer(scores)); // { rate: 0.3333333333333333, threshold: 0.5 }
 */
export function eer(scores: TrialScores): EqualErrorRate {
  const { genuinePairs, impostorPairs, thresholds, ...counts } = checkBothKinds(
    'eer',
    'scores',
    scores,
  );
  let far = 0;
  let difference = -1;
  let falseAccepts = 0;
  let falseRejects = genuinePairs;
  for (let level = 0; level < thresholds.length; level += 1) {
    falseAccepts += counts.impostorCounts[level]!;
    falseRejects -= counts.genuineCounts[level]!;
    const nextFar = falseAccepts / impostorPairs;
    const next = nextFar - falseRejects / genuinePairs;
    if (next >= 0) {
      const share = -difference / (next - difference);
      // The point before the first threshold has |d| = 1 and never wins.
      const nearest = -difference < next ? level - 1 : level;
      return {
        rate: far + share * (nextFar - far),
        threshold: thresholds[nearest]!,
      };
    }
    far = nextFar;
    difference = next;
  }
  // Unreachable with counts that add up: the last point has d = 1.
  return { rate: far, threshold: Number.NEGATIVE_INFINITY };
}
