import { chooseBackendFor, type Device } from './device.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import { checkAlpha } from './loss-specification.js';
import type { NativeBackend } from './native.js';
import {
  held,
  makeRoom,
  type RealLike,
  type RealOperand,
  type ResultOf,
  readOperand,
} from './operand.js';
import { readOptions } from './options.js';
import { type CsrMatrix, type FloatsLike, readReference } from './tensor.js';

/** Options of {@link entmax} and {@link sparseEntmax}. */
export interface EntmaxOptions {
  /** Divergence order α ≥ 1: 1 softmax, 1.5 entmax-1.5, 2 sparsemax. Default 1.5. */
  alpha?: number | undefined;
  /** Reference measure q [C], positive, not normalised. Default all 1. */
  reference?: FloatsLike | null | undefined;
  /** Where to compute. Default `'auto'`. */
  device?: Device | undefined;
}

interface Problem {
  readonly backend: NativeBackend;
  readonly logits: RealOperand;
  readonly rows: number;
  readonly classes: number;
  readonly alpha: number;
  readonly reference: Float32Array | null;
  readonly signal: AbortSignal | undefined;
}

/** Reads and checks the arguments of a posterior. */
function readProblem(
  functionName: string,
  logits: RealLike,
  options: EntmaxOptions & CallOptions,
): Problem {
  const given = readOptions<EntmaxOptions & CallOptions>(
    functionName,
    options,
    ['alpha', 'reference', 'device', 'signal'],
  );
  const alpha = checkAlpha(functionName, given.alpha ?? 1.5);
  const input = readOperand(functionName, 'logits', logits, 2);
  const backend = chooseBackendFor(functionName, given.device, input);
  const [rows, classes] = input.dims as [number, number];
  const reference = readReference(functionName, given.reference, classes);
  const { signal } = given;
  return { backend, logits: input, rows, classes, alpha, reference, signal };
}

function result({ backend, logits, rows, classes }: Problem) {
  return makeRoom(backend, logits, [rows, classes]);
}

function isEmpty({ rows, classes }: Problem): boolean {
  return rows * classes === 0;
}

/**
 * α-entmax posterior of each row of logits,
 * p_j = q_j [1 + (α−1)(θ_j − τ)]_+^{1/(α−1)} with τ such that Σ_j p_j = 1; α = 1 is softmax
 * with prior q.
 *
 * Exact to float32 (computed in float64). Input is copied when the call is made.
 *
 * @param logits θ [B, C], float32 or float16; finite.
 * @param options α, reference measure, device, signal.
 * @returns Posterior [B, C], float32; each row sums to 1.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE` (names the row),
 * `ERR_DEVICE`.
 * @see Peters, Niculae, Martins 2019, arXiv 1905.05702; Roulet et al. 2025, arXiv 2501.18537.
 * @example
 * const p = await entmax(tensor(new Float32Array([2, 1, -1]), [1, 3]), { alpha: 2 });
 * // p.data: [1, 0, 0]
 */
export async function entmax<Logits extends RealLike>(
  logits: Logits,
  options: EntmaxOptions & CallOptions = {},
): Promise<ResultOf<Logits>> {
  const problem = readProblem('entmax', logits, options);
  const out = result(problem);
  const tensor = out.tensor as ResultOf<Logits>;
  if (isEmpty(problem)) return tensor;
  const data = held(problem.logits);
  await invoke('entmax', entmax, problem.signal, (cancel) =>
    problem.backend.posterior(
      data,
      problem.classes,
      problem.alpha,
      problem.reference,
      out.data,
      cancel,
    ),
  );
  return tensor;
}

/**
 * {@link entmax} on the calling thread.
 *
 * @example
 * const p = entmaxSync(tensor(new Float32Array([2, 1, -1]), [1, 3]), { alpha: 2 });
 */
export function entmaxSync<Logits extends RealLike>(
  logits: Logits,
  options: EntmaxOptions = {},
): ResultOf<Logits> {
  const problem = readProblem('entmaxSync', logits, options);
  const out = result(problem);
  const tensor = out.tensor as ResultOf<Logits>;
  if (isEmpty(problem)) return tensor;
  invokeSync('entmaxSync', entmaxSync, () =>
    problem.backend.posteriorSync(
      problem.logits.data,
      problem.classes,
      problem.alpha,
      problem.reference,
      out.data,
    ),
  );
  return tensor;
}

/**
 * {@link entmax} as sparse rows: only the classes of the support are returned.
 *
 * @param logits θ [B, C], float32 or float16; finite.
 * @param options α, reference measure, device, signal.
 * @returns Row offsets [B + 1], classes and values; the values are those of {@link entmax}.
 * @throws AlphaMarginError as {@link entmax}; `ERR_OUT_OF_MEMORY` beyond 2^31 − 1 entries.
 * @example
 * const rows = await sparseEntmax(tensor(new Float32Array([2, 1, -1]), [1, 3]), { alpha: 2 });
 * // rows.columns: [0], rows.values: [1]
 */
export async function sparseEntmax(
  logits: RealLike,
  options: EntmaxOptions & CallOptions = {},
): Promise<CsrMatrix> {
  const problem = readProblem('sparseEntmax', logits, options);
  const dims = [problem.rows, problem.classes] as const;
  if (isEmpty(problem)) return emptyRows(problem.rows, dims);
  const data = held(problem.logits);
  const rows = await invoke(
    'sparseEntmax',
    sparseEntmax,
    problem.signal,
    (cancel) =>
      problem.backend.sparsePosterior(
        data,
        problem.classes,
        problem.alpha,
        problem.reference,
        cancel,
      ),
  );
  return { ...rows, dims };
}

/**
 * {@link sparseEntmax} on the calling thread.
 *
 * @example
 * const rows = sparseEntmaxSync(tensor(new Float32Array([2, 1, -1]), [1, 3]), { alpha: 2 });
 */
export function sparseEntmaxSync(
  logits: RealLike,
  options: EntmaxOptions = {},
): CsrMatrix {
  const problem = readProblem('sparseEntmaxSync', logits, options);
  const dims = [problem.rows, problem.classes] as const;
  if (isEmpty(problem)) return emptyRows(problem.rows, dims);
  const rows = invokeSync('sparseEntmaxSync', sparseEntmaxSync, () =>
    problem.backend.sparsePosteriorSync(
      problem.logits.data,
      problem.classes,
      problem.alpha,
      problem.reference,
    ),
  );
  return { ...rows, dims };
}

function emptyRows(rows: number, dims: readonly [number, number]): CsrMatrix {
  return {
    rowOffsets: new Int32Array(rows + 1),
    columns: new Int32Array(0),
    values: new Float32Array(0),
    dims,
  };
}
