import { checkBothKinds } from './checks.js';
import { eer } from './eer.js';
import { minDcf } from './min-dcf.js';
import { DEFAULT_FALSE_ACCEPT_RATES, tarAtFar } from './tar-at-far.js';
import type { TrialScores } from './trial-scores.js';

/** Priors of the reported detection costs. */
export const TARGET_PRIORS: readonly number[] = Object.freeze([0.01, 0.05]);

/** The metrics of one system as plain data, the same after JSON and back. */
export interface VerificationSummary {
  readonly genuinePairs: number;
  readonly impostorPairs: number;
  /** Distance between neighbouring thresholds at best; 0 when exact. */
  readonly resolution: number;
  /** {@link tarAtFar} at 1e-1 … 1e-6. */
  readonly tarAtFar: readonly (
    | {
        readonly far: number;
        readonly tar: number;
        /** null stands for +∞: nothing can be accepted. */
        readonly threshold: number | null;
        readonly falseAccepts: number;
      }
    | { readonly far: number; readonly tar: null; readonly reason: string }
  )[];
  /** {@link eer}. */
  readonly eer: { readonly rate: number; readonly threshold: number };
  /** {@link minDcf} with costs 1 at priors 0.01 and 0.05. */
  readonly minDcf: readonly {
    readonly pTarget: number;
    readonly cost: number;
    /** null stands for +∞: rejecting every trial is best. */
    readonly threshold: number | null;
  }[];
}

/**
 * All metrics of a system as a plain object, for JSON: TAR at FAR 1e-1 … 1e-6,
 * EER, and minDCF at priors 0.01 and 0.05 (see {@link tarAtFar}, {@link eer},
 * {@link minDcf} for the formulas). Infinite thresholds, which JSON cannot
 * hold, are null.
 *
 * @param scores Trials with at least one genuine and one impostor pair.
 * @returns Rates in [0, 1]; thresholds in the unit of the scores.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when there is no genuine pair or
 *   no impostor pair.
 * @example
 * import { summarize, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * console.log(JSON.stringify(summarize(scores), null, 2));
 */
export function summarize(scores: TrialScores): VerificationSummary {
  const checked = checkBothKinds('summarize', 'scores', scores);
  return {
    genuinePairs: checked.genuinePairs,
    impostorPairs: checked.impostorPairs,
    resolution: checked.resolution,
    tarAtFar: tarAtFar(checked, DEFAULT_FALSE_ACCEPT_RATES).map((entry) =>
      entry.tar === null
        ? entry
        : { ...entry, threshold: finiteOrNull(entry.threshold) },
    ),
    eer: eer(checked),
    minDcf: TARGET_PRIORS.map((pTarget) => {
      const best = minDcf(checked, { pTarget });
      return { ...best, threshold: finiteOrNull(best.threshold) };
    }),
  };
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
