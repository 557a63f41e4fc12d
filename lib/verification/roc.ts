import { checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** A receiver operating characteristic: P = L + 1 operating points. */
export interface RocCurve {
  /** [P], strictly descending; the first is +∞, which accepts nothing. */
  readonly thresholds: Float64Array;
  /** False accept rate [P], from 0 to 1, never falling. */
  readonly far: Float64Array;
  /** True accept rate [P], from 0 to 1, never falling; 1 − TAR is the FRR. */
  readonly tar: Float64Array;
}

/**
 * Receiver operating characteristic: every operating point the trials can tell
 * apart, from accepting nothing to accepting everything.
 *
 *     FAR(t) = #{impostor scores ≥ t} / #impostor
 *     TAR(t) = #{genuine scores ≥ t} / #genuine
 *
 * A trial is accepted iff score ≥ threshold. Equal scores move together: a tie
 * between genuine and impostor trials is one point, not an ordering by chance.
 *
 * @param scores Trials with at least one genuine and one impostor pair.
 * @returns L + 1 points for L distinct scores (or non-empty bins); rates in [0, 1].
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when there is no genuine pair or
 *   no impostor pair.
 * @example
 * import { roc, trialScoresFrom } from 'alphamargin/verification';
 * const curve = roc(
 *   trialScoresFrom(Float32Array.of(0.9, 0.5), Float32Array.of(0.5, 0.1)),
 * );
 * console.log(curve.far); // Float64Array(4) [ 0, 0, 0.5, 1 ]
 * console.log(curve.tar); // Float64Array(4) [ 0, 0.5, 1, 1 ]
 */
export function roc(scores: TrialScores): RocCurve {
  const { genuinePairs, impostorPairs, thresholds, ...counts } = checkBothKinds(
    'roc',
    'scores',
    scores,
  );
  const points = thresholds.length + 1;
  const curve: RocCurve = {
    thresholds: new Float64Array(points),
    far: new Float64Array(points),
    tar: new Float64Array(points),
  };
  curve.thresholds[0] = Number.POSITIVE_INFINITY;
  curve.thresholds.set(thresholds, 1);
  let falseAccepts = 0;
  let trueAccepts = 0;
  for (let point = 1; point < points; point += 1) {
    // Counts are whole numbers, so the sums are exact and the last rates are 1.
    falseAccepts += counts.impostorCounts[point - 1]!;
    trueAccepts += counts.genuineCounts[point - 1]!;
    curve.far[point] = falseAccepts / impostorPairs;
    curve.tar[point] = trueAccepts / genuinePairs;
  }
  return curve;
}
