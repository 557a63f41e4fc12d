import { readOptions } from '../options.js';
import { checkBetween, checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** Prior and costs of a detection cost function. */
export interface DetectionCostOptions {
  /** Prior probability of a genuine trial, in (0, 1). Default 0.01. */
  readonly pTarget?: number | undefined;
  /** Cost of rejecting a genuine trial, > 0. Default 1. */
  readonly costMiss?: number | undefined;
  /** Cost of accepting an impostor trial, > 0. Default 1. */
  readonly costFalseAccept?: number | undefined;
}

/** Least normalised detection cost and where it is reached. */
export interface DetectionCost {
  /** Prior the cost was computed for. */
  readonly pTarget: number;
  /** Normalised cost, in [0, 1]. */
  readonly cost: number;
  /** Highest threshold that reaches it; +∞ when rejecting every trial is best. */
  readonly threshold: number;
}

/**
 * Minimum of the normalised detection cost function.
 *
 *                  cMiss · p · FRR(t) + cFa · (1 − p) · FAR(t)
 *     minDCF = min ───────────────────────────────────────────
 *               t         min(cMiss · p, cFa · (1 − p))
 *
 * over the thresholds of {@link roc}, +∞ included. The denominator is the cost
 * of the better constant decision, so 1 means: no better than not listening.
 *
 * @param scores Trials with at least one genuine and one impostor pair.
 * @param options Prior p and costs. Defaults: p = 0.01, both costs 1.
 * @returns The cost, its threshold, and the prior.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an option is unknown or out of range, or
 *   when there is no genuine pair or no impostor pair.
 * @see NIST 2016 Speaker Recognition Evaluation Plan: the detection cost and its
 *   normalisation.
 * @example
 * import { minDcf, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float64Array.of(0.9, 0.7, 0.4),
 *   Float64Array.of(0.5, 0.1, -0.2),
 * );
 * console.log(minDcf(scores, { pTarget: 0.05 }));
 * // { pTarget: 0.05, cost: 0.3333333333333333, threshold: 0.7 }
 */
export function minDcf(
  scores: TrialScores,
  options: DetectionCostOptions = {},
): DetectionCost {
  const { genuinePairs, impostorPairs, thresholds, ...counts } = checkBothKinds(
    'minDcf',
    'scores',
    scores,
  );
  const {
    pTarget = 0.01,
    costMiss = 1,
    costFalseAccept = 1,
  } = readOptions<DetectionCostOptions>('minDcf', options, [
    'pTarget',
    'costMiss',
    'costFalseAccept',
  ]);
  checkBetween('minDcf', 'pTarget', pTarget, 1);
  const infinity = Number.POSITIVE_INFINITY;
  checkBetween('minDcf', 'costMiss', costMiss, infinity);
  checkBetween('minDcf', 'costFalseAccept', costFalseAccept, infinity);

  const missCost = costMiss * pTarget;
  const falseAcceptCost = costFalseAccept * (1 - pTarget);
  const constant = Math.min(missCost, falseAcceptCost);
  // Weights are divided first: one of them is then exactly 1, and so is the cost
  // of the better constant decision.
  const missWeight = missCost / constant;
  const falseAcceptWeight = falseAcceptCost / constant;
  let best = missWeight;
  let threshold = infinity;
  let falseAccepts = 0;
  let falseRejects = genuinePairs;
  for (let level = 0; level < thresholds.length; level += 1) {
    falseAccepts += counts.impostorCounts[level]!;
    falseRejects -= counts.genuineCounts[level]!;
    const cost =
      missWeight * (falseRejects / genuinePairs) +
      falseAcceptWeight * (falseAccepts / impostorPairs);
    if (cost < best) {
      best = cost;
      threshold = thresholds[level]!;
    }
  }
  return { pTarget, cost: best, threshold };
}
