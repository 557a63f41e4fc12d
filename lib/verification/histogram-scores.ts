import type { TrialScores } from './trial-scores.js';

/**
 * Makes {@link TrialScores} from two histograms over [−1, 1] with equal bins; a
 * cosine c was counted in bin clamp(⌊(c + 1)/2 · bins⌋, 0, bins − 1).
 *
 * A bin's lower edge is its threshold: score ≥ edge accepts exactly this bin and
 * those above it, so no rate is off by a partly accepted bin. Empty bins are left out.
 *
 * @param genuine Counts of the genuine pairs [bins].
 * @param impostor Counts of the impostor pairs [bins].
 */
export function scoresFromHistograms(
  genuine: Float64Array,
  impostor: Float64Array,
): TrialScores {
  const bins = genuine.length;
  let length = 0;
  let genuinePairs = 0;
  let impostorPairs = 0;
  for (let bin = 0; bin < bins; bin += 1) {
    if (genuine[bin]! + impostor[bin]! > 0) length += 1;
    genuinePairs += genuine[bin]!;
    impostorPairs += impostor[bin]!;
  }
  const thresholds = new Float64Array(length);
  const genuineCounts = new Float64Array(length);
  const impostorCounts = new Float64Array(length);
  let level = 0;
  for (let bin = bins - 1; bin >= 0; bin -= 1) {
    if (genuine[bin]! + impostor[bin]! === 0) continue;
    thresholds[level] = (2 * bin) / bins - 1;
    genuineCounts[level] = genuine[bin]!;
    impostorCounts[level] = impostor[bin]!;
    level += 1;
  }
  return {
    genuinePairs,
    impostorPairs,
    resolution: 2 / bins,
    thresholds,
    genuineCounts,
    impostorCounts,
  };
}
