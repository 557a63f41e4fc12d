import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { type CallOptions, invoke } from '../invoke.js';
import { readOptions } from '../options.js';
import {
  IGNORED_LABEL,
  type RealInput,
  readLabels,
  snapshot,
  type TensorLike,
} from '../tensor.js';
import { readRows } from './checks.js';
import { scorePairsExactly, scorePairsInBins } from './labelled-pairs.js';
import {
  cosinesOfTrials,
  countListedScores,
  rowsOfTrials,
} from './listed-trials.js';
import type { ListedTrials } from './parse-trials.js';
import type { TrialScores } from './trial-scores.js';

/** Which pairs to compare: all of them by label, or those of a list. */
export type TrialSource =
  | {
      /**
       * Int32Array [N] (or an int32 tensor): equal labels are one identity. A row
       * labelled −1 takes no part and is not read; labels below −1 are refused.
       */
      readonly labels: Int32Array | TensorLike;
    }
  | ListedTrials;

/** Options of {@link scoreTrials}. */
export interface ScoreTrialsOptions extends CallOptions {
  /**
   * Most pairs of labelled embeddings whose scores are held one by one, a whole
   * number in [0, 2^28]; beyond it they are counted in bins. Default 2^22 (N ≤ 2896).
   */
  readonly exactPairs?: number | undefined;
}

/**
 * Scores verification trials by cosine,
 *
 *     s(i, j) = ⟨x_i, x_j⟩ / (‖x_i‖ ‖x_j‖),   in [−1, 1]
 *
 * With `labels`, the trials are all unordered pairs i < j of the rows that are not
 * labelled −1: genuine when the labels are equal, impostor otherwise. Up to `exactPairs` of them are held exactly (about
 * 30 bytes each). Above that they are counted in 2^18 bins as they are computed,
 * which takes some 4 MB for each thread whatever N is; thresholds then lie on a grid
 * of 2^−17 ≈ 7.6·10⁻⁶ (`resolution`), and the rates at them are not rounded.
 * With `trials`, the listed pairs are scored and held exactly.
 *
 * The embeddings are copied first: they may change or be transferred meanwhile.
 *
 * @param embeddings [N, D], float32 or float16, not necessarily normalised.
 * @param source `{ labels }`, or `{ trials, names }` (`trials` alone where its names are row numbers).
 * @param options Defaults: no signal, `exactPairs` 2^22.
 * @returns The scores, for {@link roc}, {@link tarAtFar}, {@link eer}, {@link minDcf},
 *   {@link detPlot}, {@link rocPlot}, {@link summarize}.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for a wrong type, shape or range, an unknown
 *   option, a name that is not known, or a row of zeros (it has no direction);
 *   `ERR_NON_FINITE` naming a row that holds NaN or ±∞; `ERR_LABEL_RANGE` for a
 *   label below −1; `ERR_OUT_OF_MEMORY`.
 * @example
 * import { eer, scoreTrials } from 'alphamargin/verification';
 * const embeddings = {
 *   data: Float32Array.of(1, 0, 1, 0.1, 0, 1, 0.2, 1),
 *   dims: [4, 2],
 * };
 * const labels = Int32Array.of(7, 7, 8, 8);
 * const scores = await scoreTrials(embeddings, { labels });
 * console.log(scores.genuinePairs, scores.impostorPairs); // 2 4
 * console.log(eer(scores).rate); // 0
 */
export async function scoreTrials(
  embeddings: TensorLike,
  source: TrialSource,
  options: ScoreTrialsOptions = {},
): Promise<TrialScores> {
  const name = 'scoreTrials';
  const input = readRows(name, 'embeddings', embeddings);
  const { labels, trials, names } = readSource(name, source);
  const { signal, exactPairs = 2 ** 22 } = readOptions<ScoreTrialsOptions>(
    name,
    options,
    ['exactPairs', 'signal'],
  );
  if (
    !Number.isSafeInteger(exactPairs) ||
    exactPairs < 0 ||
    exactPairs > 2 ** 28
  ) {
    throw invalidArgument(
      name,
      'exactPairs',
      'a whole number >= 0 and <= 2^28',
      exactPairs,
    );
  }
  if (labels === undefined) {
    const own = { data: snapshot(input.data), dims: input.dims };
    const rows = rowsOfTrials(name, trials!, names, own.dims[0]!);
    const cosines = await invoke(name, scoreTrials, signal, (cancel) =>
      cosinesOfTrials(own, rows, cancel),
    );
    return countListedScores(name, cosines, rows.genuine);
  }
  const given = readTrialLabels(name, labels, input.dims[0]!);
  const { own, known, rowOf } = labelledRows(input, given);
  const pairs = (known.length * (known.length - 1)) / 2;
  return invoke(name, scoreTrials, signal, (cancel) =>
    (pairs <= exactPairs
      ? scorePairsExactly(name, own, known, cancel)
      : scorePairsInBins(own, known, cancel)
    ).catch((cause: unknown) => {
      throw withRowOf(cause, rowOf);
    }),
  );
}

/** What can be given as a {@link TrialSource}, of both kinds. */
interface AnySource extends Partial<ListedTrials> {
  readonly labels?: unknown;
}

/** Reads where the pairs come from: labels alone, or a list and its names. */
function readSource(functionName: string, source: unknown): AnySource {
  const given = readOptions<AnySource>(
    functionName,
    source,
    ['labels', 'trials', 'names'],
    'source',
  );
  const { labels, trials, names } = given;
  if ((labels === undefined) === (trials === undefined)) {
    const expected = '{ labels } or { trials }';
    throw invalidArgument(functionName, 'source', expected, source);
  }
  if (labels !== undefined && names !== undefined) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${functionName}: expected names to be left out (labels belong to rows, which need no names) but received ${describe(names)}`,
    );
  }
  return given;
}

/** Labels of trials: those of identities, and −1 for rows that take no part. */
function readTrialLabels(
  functionName: string,
  value: unknown,
  rows: number,
): Int32Array {
  const labels = readLabels(functionName, value, rows);
  const row = labels.findIndex((label) => label < IGNORED_LABEL);
  if (row < 0) return labels;
  throw new AlphaMarginError(
    'ERR_LABEL_RANGE',
    `${functionName}: expected labels[${row}] to be >= 0, or -1 for a row that takes no part, but received ${labels[row]}`,
  );
}

/** Copies of the rows that take part and their labels, and where each stood. */
function labelledRows(
  { data, dims }: RealInput,
  labels: Int32Array,
): { own: RealInput; known: Int32Array; rowOf: Int32Array | undefined } {
  const [rows = 0, dim = 0] = dims;
  if (!labels.includes(IGNORED_LABEL)) {
    return {
      own: { data: snapshot(data), dims },
      known: labels,
      rowOf: undefined,
    };
  }
  const rowOf = Int32Array.from({ length: rows }, (_, row) => row).filter(
    (row) => labels[row] !== IGNORED_LABEL,
  );
  const copy = snapshot(data);
  for (const [place, row] of rowOf.entries()) {
    copy.copyWithin(place * dim, row * dim, (row + 1) * dim);
  }
  const own = copy.subarray(0, rowOf.length * dim);
  return {
    own: { data: own, dims: [rowOf.length, dim] },
    known: rowOf.map((row) => labels[row]!),
    rowOf,
  };
}

/** An error of the addon that names a row, with the row of the caller's embeddings. */
function withRowOf(cause: unknown, rowOf: Int32Array | undefined): unknown {
  if (rowOf !== undefined && cause instanceof Error) {
    cause.message = cause.message.replace(
      /\brow (\d+)\b/,
      (text, row) => `row ${rowOf[Number(row)] ?? text}`,
    );
  }
  return cause;
}
