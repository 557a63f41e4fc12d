import { AlphaMarginError, invalidArgument } from '../errors.js';
import { checkWhole } from '../head-options.js';
import { type CallOptions, invoke } from '../invoke.js';
import { float16Values } from '../io/float16.js';
import { readOptions } from '../options.js';
import { type RealInput, snapshot, type TensorLike } from '../tensor.js';
import { copyListedScores, readRows } from './checks.js';
import {
  type CohortStatistics,
  cohortStatistics,
} from './cohort-statistics.js';
import { rowsOfTrials, type TrialRows } from './listed-trials.js';
import type { ListedTrials } from './parse-trials.js';
import type { RawScores } from './trial-scores.js';

/** Options of {@link normalizeScores}. */
export interface NormalizeScoresOptions extends ListedTrials, CallOptions {
  /** [T], the cosine of each trial, of {@link trialCosines}; finite. */
  readonly scores: RawScores;
  /** [N, D], float32 or float16, those that were scored. Rows without a trial are not read. */
  readonly embeddings: TensorLike;
  /**
   * [M, D], float32 or float16, M ≥ 2: embeddings of people who are in no trial, not necessarily
   * normalised; often one mean for each training identity.
   */
  readonly cohort: TensorLike;
  /**
   * N of the top-N, a whole number ≥ 2; capped by M. Default 300. M itself, or more, is S-norm:
   * nothing is adaptive then.
   */
  readonly top?: number | undefined;
}

const OPTIONS = [
  'scores',
  'trials',
  'names',
  'embeddings',
  'cohort',
  'top',
  'signal',
] as const;

/**
 * Least deviation of cohort cosines: they are float32, whose steps below 1 are 6·10⁻⁸. Below it, the
 * scores would be rounding errors made large.
 */
const LEAST_DEVIATION = 1e-6;

/**
 * Adaptive symmetric score normalisation (AS-norm): how far the score of a trial stands out from what
 * its two sides score with strangers,
 *
 *     s' = ½ · ((s − μ_e)/σ_e + (s − μ_t)/σ_t)
 *
 * μ_e and σ_e are mean and standard deviation of the N largest cosines between the enrolment and the
 * cohort, μ_t and σ_t those of the test. σ² = 1/N Σ (c_k − μ)², that of a population, as in WeSpeaker.
 *
 * The N largest cosines are exact (float32 from float64, by the search of `PrototypeHead.nearest` on
 * the CPU), sums are float64. Each row is compared with the cohort once, however many trials it
 * is in. Memory: a copy of those rows, 9·M·D bytes for the cohort, and some tens of megabytes.
 *
 * Arrays are copied first: they may change or be transferred meanwhile.
 *
 * @param options Scores, their trials and embeddings, and the cohort; defaults: `top` 300, no
 *   `names`, no signal.
 * @returns [T], float64, in the order of the list, for {@link trialScoresFromList}. Not in [−1, 1].
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for a wrong type, shape or range, an unknown option, a
 *   name that is not known, a row of zeros, or a row of the embeddings with σ below 10⁻⁶ (a cohort that repeats
 *   itself: there is nothing to divide by); `ERR_NON_FINITE` naming the row or score that is NaN
 *   or ±∞; `ERR_OUT_OF_MEMORY`.
 * @see Matějka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*
 *   (Interspeech 2017, doi:10.21437/Interspeech.2017-803).
 * @example
 * import { normalizeScores, parseTrials, trialCosines } from 'alphamargin/verification';
 * const embeddings = { data: Float32Array.of(1, 0, 0.8, 0.6, 0, 1), dims: [3, 2] };
 * const cohort = { data: Float32Array.of(0.6, 0.8, 0.28, 0.96, -1, 0), dims: [3, 2] };
 * const trials = parseTrials('1 0 1\n0 0 2\n');
 * const scores = await trialCosines(embeddings, { trials });
 * console.log(await normalizeScores({ scores, trials, embeddings, cohort, top: 2 })); // 0.625, −6.875
 */
export async function normalizeScores(
  options: NormalizeScoresOptions,
): Promise<Float64Array> {
  const name = 'normalizeScores';
  const given = readOptions<NormalizeScoresOptions>(name, options, OPTIONS);
  const { trials, names, signal } = given;
  const embeddings = readRows(name, 'embeddings', given.embeddings);
  const cohort = readCohort(name, given.cohort, embeddings.dims[1]!);
  const top = checkWhole(name, 'top', given.top ?? 300, 2, 2 ** 31 - 1);
  const rows = rowsOfTrials(name, trials!, names, embeddings.dims[0]!);
  const scores = copyListedScores(name, given.scores, rows.genuine.length);
  const { queries, rowOf, placeOf } = rowsInTrials(name, embeddings, rows);
  const dim = embeddings.dims[1]!;
  const members = cohort.length / dim;
  const statistics = await invoke(name, normalizeScores, signal, (cancel) =>
    cohortStatistics(
      queries,
      cohort,
      dim,
      Math.min(top, members),
      cancel,
    ).catch((cause: unknown) => {
      throw inCallersWords(cause, rowOf);
    }),
  );
  checkDeviations(name, statistics, rowOf);
  return standardScores(scores, rows, statistics, placeOf);
}

/** The cohort as float32 [M · dim], a copy. */
function readCohort(
  functionName: string,
  value: unknown,
  dim: number,
): Float32Array {
  const { data, dims } = readRows(functionName, 'cohort', value);
  if (dims[0]! < 2 || dims[1] !== dim) {
    throw invalidArgument(
      functionName,
      'cohort.dims',
      `[M, ${dim}] with M >= 2, as wide as the embeddings`,
      dims,
    );
  }
  const own = snapshot(data);
  if (own instanceof Float32Array) return own;
  const values = float16Values();
  return Float32Array.from(own, (bits) => values[bits]!);
}

/** Copies of the rows that trials compare, each once, and where they stand. */
function rowsInTrials(
  functionName: string,
  { data, dims }: RealInput,
  { enrolment, test }: TrialRows,
): {
  queries: Float32Array | Uint16Array;
  rowOf: Int32Array;
  placeOf: Int32Array;
} {
  const [rows = 0, dim = 0] = dims;
  // A getter of another argument may have transferred it.
  if (data.length !== rows * dim) {
    const expected = 'an array that keeps its memory during the call';
    throw invalidArgument(functionName, 'embeddings.data', expected, data);
  }
  const placeOf = new Int32Array(rows).fill(-1);
  for (const side of [enrolment, test]) {
    for (const row of side) placeOf[row] = 0;
  }
  const rowOf = Int32Array.from({ length: rows }, (_, row) => row).filter(
    (row) => placeOf[row] === 0,
  );
  const queries =
    data instanceof Float32Array
      ? new Float32Array(rowOf.length * dim)
      : new Uint16Array(rowOf.length * dim);
  for (const [place, row] of rowOf.entries()) {
    placeOf[row] = place;
    queries.set(data.subarray(row * dim, (row + 1) * dim), place * dim);
  }
  return { queries, rowOf, placeOf };
}

/** An error of the addon about queries and prototypes, as one about embeddings and cohort. */
function inCallersWords(cause: unknown, rowOf: Int32Array): unknown {
  if (cause instanceof Error) {
    cause.message = cause.message
      .replace(/\bprototypes row\b/, 'cohort row')
      .replace(
        /\bqueries row (\d+)/,
        (_, place) => `embeddings row ${rowOf[Number(place)]}`,
      );
  }
  return cause;
}

/** Refuses rows whose cohort cosines are all but equal. */
function checkDeviations(
  functionName: string,
  { deviation }: CohortStatistics,
  rowOf: Int32Array,
): void {
  const place = deviation.findIndex((value) => !(value >= LEAST_DEVIATION));
  if (place < 0) return;
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `${functionName}: expected the cohort's largest cosines with embeddings row ${rowOf[place]} to ` +
      `have a standard deviation >= ${LEAST_DEVIATION} but received ${deviation[place]}; does ` +
      'the cohort repeat itself? A larger top, or a cohort without duplicates, may help',
  );
}

/** s' of each trial. The sum is the same for both orders of the sides. */
function standardScores(
  scores: RawScores,
  { enrolment, test }: TrialRows,
  { mean, deviation }: CohortStatistics,
  placeOf: Int32Array,
): Float64Array {
  const standard = (score: number, row: number) => {
    const place = placeOf[row]!;
    return (score - mean[place]!) / deviation[place]!;
  };
  return Float64Array.from(
    scores,
    (score, trial) =>
      (standard(score, enrolment[trial]!) + standard(score, test[trial]!)) / 2,
  );
}
