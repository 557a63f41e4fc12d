/** Options of the plots. */
export type { PlotOptions } from './curve-plot.js';
export { detPlot } from './det-plot.js';
export { type EqualErrorRate, eer } from './eer.js';
export {
  type DetectionCost,
  type DetectionCostOptions,
  minDcf,
} from './min-dcf.js';
export {
  type NormalizeScoresOptions,
  normalizeScores,
} from './normalize-scores.js';
export {
  type ListedTrials,
  parseTrials,
  type TrialList,
} from './parse-trials.js';
export { readTemplatePairs } from './read-template-pairs.js';
export { readTrials } from './read-trials.js';
export { type RocCurve, roc } from './roc.js';
export { rocPlot } from './roc-plot.js';
export {
  type ScoreTrialsOptions,
  scoreTrials,
  type TrialSource,
} from './score-trials.js';
export { summarize, type VerificationSummary } from './summarize.js';
/** Scores of one system, with its name. */
export type { NamedScores } from './systems.js';
export { type TarAtFar, tarAtFar } from './tar-at-far.js';
/** What a training says of an epoch, for reports. */
export type { TrainingEpoch } from './training-history.js';
export { trialCosines } from './trial-cosines.js';
export {
  type RawScores,
  type TrialScores,
  trialScoresFrom,
} from './trial-scores.js';
export { trialScoresFromList } from './trial-scores-from-list.js';
export {
  type ReportSystem,
  type VerificationReportOptions,
  verificationReport,
} from './verification-report.js';
