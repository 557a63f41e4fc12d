import { AlphaMarginError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { normalizeScores } from '../verification/normalize-scores.js';
import type { ListedTrials, TrialList } from '../verification/parse-trials.js';
import { scoreTrials, type TrialSource } from '../verification/score-trials.js';
import { trialCosines } from '../verification/trial-cosines.js';
import type { RawScores } from '../verification/trial-scores.js';
import { trialScoresFromList } from '../verification/trial-scores-from-list.js';
import type { ReportSystem } from '../verification/verification-report.js';

/** Most pairs of labelled rows that are normalised: each is held, as scoreTrials holds as many. */
const MOST_PAIRS = 2 ** 22;

/** A system of the table, and its score of each trial where they were scored one by one. */
export interface ScoredSystem {
  readonly system: ReportSystem;
  /** In the order of the list. */
  readonly perTrial: RawScores | undefined;
}

/** What scores are normalised with. */
export interface Cohort {
  /** [M, D], as the embeddings of the system. */
  readonly embeddings: Tensor;
  /** N of the top-N. */
  readonly top: number;
}

/** Embeddings of one system, and what is done with them. */
export interface SystemInputs {
  readonly name: string;
  readonly embeddings: Tensor;
  /** Row in the file, for each row. */
  readonly rows: Int32Array;
  readonly source: TrialSource;
  readonly cohort: Cohort | null;
  readonly training?: ReportSystem['training'];
}

/** Scores a system by cosine, and with a cohort once more, normalised. */
export async function scoreSystem({
  name,
  embeddings,
  rows,
  source,
  cohort,
  training,
}: SystemInputs): Promise<ScoredSystem[]> {
  const own = { name, ...(training !== undefined && { training }) };
  if ('labels' in source && cohort === null) {
    const scores = await scoreTrials(embeddings, source);
    return [{ system: { ...own, scores }, perTrial: undefined }];
  }
  const listed: ListedTrials =
    'labels' in source
      ? { trials: pairsOf(source.labels as Int32Array) }
      : source;
  const { trials } = listed;
  const cosines = await trialCosines(embeddings, listed);
  const systemOf = (system: typeof own, perTrial: RawScores) => ({
    system: { ...system, scores: trialScoresFromList(perTrial, trials) },
    perTrial,
  });
  const plain = systemOf(own, cosines);
  if (cohort === null) return [plain];
  const normalized = await normalizeScores({
    ...listed,
    scores: cosines,
    embeddings,
    cohort: cohort.embeddings,
    top: cohort.top,
  }).catch((cause: unknown) => {
    throw inRowsOfFile(cause, rows);
  });
  const adaptive = cohort.top < cohort.embeddings.dims[0]!;
  const other = `${name}, ${adaptive ? 'AS-norm' : 'S-norm'}`;
  return [plain, systemOf({ name: other }, normalized)];
}

/** All pairs of labelled rows, as a list. */
function pairsOf(labels: Int32Array): TrialList {
  const rows = labels.length;
  const pairs = (rows * (rows - 1)) / 2;
  if (pairs > MOST_PAIRS) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `--cohort normalises the pairs one by one, at most ${MOST_PAIRS}: the ${rows} rows that ` +
        `are compared make ${pairs}; give a list of them with --trials`,
    );
  }
  const genuine = new Uint8Array(pairs);
  const enrolment = new Int32Array(pairs);
  const test = new Int32Array(pairs);
  let pair = 0;
  for (let first = 0; first < rows; first += 1) {
    for (let second = first + 1; second < rows; second += 1) {
      genuine[pair] = labels[first] === labels[second] ? 1 : 0;
      enrolment[pair] = first;
      test[pair] = second;
      pair += 1;
    }
  }
  return { genuine, enrolment, test };
}

/** An error that names a row of the embeddings that are compared, with its row in the file. */
function inRowsOfFile(cause: unknown, rows: Int32Array): unknown {
  if (cause instanceof Error) {
    cause.message = cause.message.replace(
      /\bembeddings row (\d+)/,
      (text, row) => `embeddings row ${rows[Number(row)] ?? text}`,
    );
  }
  return cause;
}
