import { eer } from './eer.js';
import { minDcf } from './min-dcf.js';
import { CHOOSABLE_RATES, levelOf } from './operating-points.js';
import { TARGET_PRIORS } from './summarize.js';
import { DEFAULT_FALSE_ACCEPT_RATES, tarAtFar } from './tar-at-far.js';
import type { TrialScores } from './trial-scores.js';

/** Growth of a number of errors that a logarithmic axis shows. */
const GROWTH = 1.02;

/** Steps of the scores that a histogram needs. */
const SCORE_STEPS = 512;

/**
 * Scores with a few thousand thresholds at most, for a file: the trials of the
 * thresholds left out are counted at the next lower one that is kept.
 *
 * Rates at kept thresholds stay exact. Kept is what {@link summarize} and
 * {@link operatingPoints} read, so both give the same for the result; in between,
 * neighbours differ by less than a pixel in a plot.
 */
export function condenseScores(scores: TrialScores): TrialScores {
  const { thresholds, genuineCounts, impostorCounts } = scores;
  const keep = new Uint8Array(thresholds.length);
  keepSummary(scores, keep);
  keepCurve(scores, keep);
  const kept = keep.reduce((sum, flag) => sum + flag, 0);
  const condensed = {
    ...scores,
    thresholds: new Float64Array(kept),
    genuineCounts: new Float64Array(kept),
    impostorCounts: new Float64Array(kept),
  };
  let into = 0;
  for (let level = 0; level < thresholds.length; level += 1) {
    condensed.genuineCounts[into]! += genuineCounts[level]!;
    condensed.impostorCounts[into]! += impostorCounts[level]!;
    if (keep[level] === 0) continue;
    condensed.thresholds[into] = thresholds[level]!;
    into += 1;
  }
  return condensed;
}

/** Thresholds that metrics name, and their neighbours, which tell how far they reach. */
function keepSummary(scores: TrialScores, keep: Uint8Array): void {
  const rates = [...DEFAULT_FALSE_ACCEPT_RATES, ...CHOOSABLE_RATES];
  const named = [
    eer(scores).threshold,
    ...TARGET_PRIORS.map((pTarget) => minDcf(scores, { pTarget }).threshold),
    ...tarAtFar(scores, rates).map((point) =>
      point.tar === null ? Number.POSITIVE_INFINITY : point.threshold,
    ),
  ];
  for (const threshold of named) {
    const level = levelOf(scores, threshold);
    keep.fill(1, Math.max(0, level - 1), level + 2);
  }
}

/** Thresholds that ROC, DET and histogram show apart from their neighbours. */
function keepCurve(scores: TrialScores, keep: Uint8Array): void {
  const { thresholds, genuinePairs, genuineCounts, impostorCounts } = scores;
  const last = thresholds.length - 1;
  const step = (thresholds[0]! - thresholds[last]!) / SCORE_STEPS;
  interface Place {
    threshold: number;
    falseAccepts: number;
    falseRejects: number;
  }
  const differ = (from: Place, to: Place) =>
    from.threshold - to.threshold >= step ||
    to.falseAccepts > GROWTH * from.falseAccepts ||
    from.falseRejects > GROWTH * to.falseRejects ||
    from.falseRejects - to.falseRejects > genuinePairs / SCORE_STEPS;
  const start = { threshold: thresholds[0]!, falseAccepts: 0 };
  let before: Place = { ...start, falseRejects: genuinePairs };
  let anchor = before;
  for (let level = 0; level <= last; level += 1) {
    const here = {
      threshold: thresholds[level]!,
      falseAccepts: before.falseAccepts + impostorCounts[level]!,
      falseRejects: before.falseRejects - genuineCounts[level]!,
    };
    if (level === last || differ(anchor, here)) {
      keep[level] = 1;
      // A jump keeps its corner.
      if (level > 0 && differ(before, here)) keep[level - 1] = 1;
      anchor = here;
    }
    before = here;
  }
}
