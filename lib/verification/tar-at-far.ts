import { invalidArgument } from '../errors.js';
import { checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** True accept rate at one false accept rate, or why there is none. */
export type TarAtFar =
  | {
      /** False accept rate asked for. */
      readonly far: number;
      /** Largest true accept rate whose false accept rate is at most `far`. */
      readonly tar: number;
      /** Highest threshold that reaches `tar`; +∞ when nothing can be accepted. */
      readonly threshold: number;
      /** Impostor pairs accepted at `threshold`; below about 30 `tar` is noisy. */
      readonly falseAccepts: number;
    }
  | {
      readonly far: number;
      readonly tar: null;
      /** Not even one accepted impostor pair would stay within `far`. */
      readonly reason: 'too few impostor pairs';
    };

/** The false accept rates reported when none are asked for: 1e-1 … 1e-6. */
export const DEFAULT_FALSE_ACCEPT_RATES: readonly number[] = Object.freeze([
  1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6,
]);

/**
 * True accept rate at given false accept rates.
 *
 *     TAR@f = max { TAR(t) : FAR(t) ≤ f }
 *
 * over the thresholds of {@link roc}; nothing is interpolated. The set supports f
 * only if f · impostorPairs ≥ 1, that is if one false accept is allowed. Below
 * that, "FAR ≤ f" would only mean "no impostor pair accepted", a statement
 * about a larger rate: then `tar` is null, with the reason.
 *
 * With binned scores the result is never above that of the single scores.
 *
 * @param scores Trials with at least one genuine and one impostor pair.
 * @param far False accept rates in (0, 1]. Default 1e-1, 1e-2, … 1e-6.
 * @returns One entry for each rate, in the order asked for.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when a rate is outside (0, 1], or
 *   when there is no genuine pair or no impostor pair.
 * @example
 * import { tarAtFar, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * const [atHalf, atTenth] = tarAtFar(scores, [0.5, 0.1]);
 * console.log(atHalf.tar); // 1: at threshold 0.4, 1 of 3 impostors is accepted
 * console.log(atTenth); // { far: 0.1, tar: null, reason: 'too few impostor pairs' }
 */
export function tarAtFar<
  const Rates extends readonly number[] = readonly number[],
>(
  scores: TrialScores,
  far?: Rates,
): { -readonly [Place in keyof Rates]: TarAtFar } {
  const checked = checkBothKinds('tarAtFar', 'scores', scores);
  const rates: unknown = far === undefined ? DEFAULT_FALSE_ACCEPT_RATES : far;
  if (!Array.isArray(rates)) {
    throw invalidArgument('tarAtFar', 'far', 'an array of rates', rates);
  }
  const points = Array.from(rates as readonly unknown[], (rate, index) => {
    if (typeof rate !== 'number' || !(rate > 0 && rate <= 1)) {
      throw invalidArgument(
        'tarAtFar',
        `far[${index}]`,
        'a number > 0 and <= 1',
        rate,
      );
    }
    return bestPoint(checked, rate);
  });
  return points as { -readonly [Place in keyof Rates]: TarAtFar };
}

/** Walks down the thresholds until the false accept rate passes `far`. */
function bestPoint(scores: TrialScores, far: number): TarAtFar {
  const { genuinePairs, impostorPairs } = scores;
  // Quotients are compared because 29/100 <= 0.29 holds and 29 <= 0.29·100 does not.
  if (1 / impostorPairs > far) {
    return { far, tar: null, reason: 'too few impostor pairs' };
  }
  let best = { trueAccepts: 0, falseAccepts: 0, level: -1 };
  let trueAccepts = 0;
  let falseAccepts = 0;
  for (let level = 0; level < scores.thresholds.length; level += 1) {
    falseAccepts += scores.impostorCounts[level]!;
    if (falseAccepts / impostorPairs > far) break;
    trueAccepts += scores.genuineCounts[level]!;
    if (trueAccepts > best.trueAccepts) {
      best = { trueAccepts, falseAccepts, level };
    }
  }
  return {
    far,
    tar: best.trueAccepts / genuinePairs,
    threshold: scores.thresholds[best.level] ?? Number.POSITIVE_INFINITY,
    falseAccepts: best.falseAccepts,
  };
}
