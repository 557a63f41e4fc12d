import { invalidArgument } from '../errors.js';
import { type CallOptions, invoke } from '../invoke.js';
import { readOptions } from '../options.js';
import { snapshot, type TensorLike } from '../tensor.js';
import { readRows } from './checks.js';
import { cosinesOfTrials, rowsOfTrials } from './listed-trials.js';
import type { ListedTrials } from './parse-trials.js';

/**
 * The score of every single trial of a list, for fusion, calibration, normalisation
 * ({@link normalizeScores}) and to look at errors:
 *
 *     s_t = ⟨x_e, x_t⟩ / (‖x_e‖ ‖x_t‖),   in [−1, 1]
 *
 * float64 from the embeddings, rounded to float32 once: bit for bit the scores that
 * {@link scoreTrials} counts. {@link trialScoresFromList} counts them, or what became of them.
 *
 * The embeddings are copied first: they may change or be transferred meanwhile.
 *
 * @param embeddings [N, D], float32 or float16, not necessarily normalised. All rows are read.
 * @param source `{ trials, names }`, as for {@link scoreTrials}.
 * @param options Defaults: no signal.
 * @returns [T], the cosines in the order of the list.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for a wrong type, shape or range, an unknown
 *   option, a name that is not known, or a row of zeros (it has no direction);
 *   `ERR_NON_FINITE` naming a row that holds NaN or ±∞; `ERR_OUT_OF_MEMORY`.
 * @example
 * import { parseTrials, trialCosines } from 'alphamargin/verification';
 * const embeddings = { data: Float32Array.of(3, 0, 2, 0, 0, 1), dims: [3, 2] };
 * const trials = parseTrials('1 0 1\n0 0 2\n');
 * console.log(await trialCosines(embeddings, { trials })); // Float32Array(2) [ 1, 0 ]
 */
export async function trialCosines(
  embeddings: TensorLike,
  source: ListedTrials,
  options: CallOptions = {},
): Promise<Float32Array> {
  const name = 'trialCosines';
  const { data, dims } = readRows(name, 'embeddings', embeddings);
  const { trials, names } = readOptions<ListedTrials>(
    name,
    source,
    ['trials', 'names'],
    'source',
  );
  if (trials === undefined) {
    throw invalidArgument(
      name,
      'source',
      '{ trials } or { trials, names }',
      source,
    );
  }
  const { signal } = readOptions<CallOptions>(name, options, ['signal']);
  const own = { data: snapshot(data), dims };
  const rows = rowsOfTrials(name, trials, names, dims[0]!);
  return invoke(name, trialCosines, signal, (cancel) =>
    cosinesOfTrials(own, rows, cancel),
  );
}
