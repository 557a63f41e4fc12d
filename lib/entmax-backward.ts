import { chooseBackendFor, type Device } from './device.js';
import { invalidArgument } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import { checkAlpha } from './loss-specification.js';
import type { NativeBackend } from './native.js';
import {
  held,
  makeRoom,
  type RealLike,
  type RealOperand,
  type Result,
  type ResultOf,
  readOperand,
} from './operand.js';
import { readOptions } from './options.js';
import { type FloatsLike, readReference } from './tensor.js';

/** Options of {@link entmaxBackward}. */
export interface EntmaxBackwardOptions {
  /** Divergence order α ≥ 1 of the forward pass. Default 1.5. */
  alpha?: number | undefined;
  /** Reference measure q [C] of the forward pass. Default all 1. */
  reference?: FloatsLike | null | undefined;
  /** Where to compute. Default `'auto'`. */
  device?: Device | undefined;
}

interface Problem {
  readonly backend: NativeBackend;
  readonly gradPosterior: RealOperand;
  readonly posterior: RealOperand;
  readonly rows: number;
  readonly classes: number;
  readonly alpha: number;
  readonly reference: Float32Array | null;
  readonly out: Result;
  readonly signal: AbortSignal | undefined;
}

function readProblem(
  functionName: string,
  gradPosterior: RealLike,
  posterior: RealLike,
  options: EntmaxBackwardOptions & CallOptions,
): Problem {
  const given = readOptions<EntmaxBackwardOptions & CallOptions>(
    functionName,
    options,
    ['alpha', 'reference', 'device', 'signal'],
  );
  const alpha = checkAlpha(functionName, given.alpha ?? 1.5);
  const p = readOperand(functionName, 'posterior', posterior, 2);
  const v = readOperand(functionName, 'gradPosterior', gradPosterior, 2);
  const [rows, classes] = p.dims as [number, number];
  if (v.dims[0] !== rows || v.dims[1] !== classes) {
    throw invalidArgument(
      functionName,
      'gradPosterior.dims',
      `those of posterior, [${rows}, ${classes}],`,
      v.dims,
    );
  }
  const backend = chooseBackendFor(functionName, given.device, p, v);
  return {
    backend,
    gradPosterior: v,
    posterior: p,
    rows,
    classes,
    alpha,
    reference: readReference(functionName, given.reference, classes),
    out: makeRoom(backend, p, [rows, classes]),
    signal: given.signal,
  };
}

/**
 * Gradient of a function of {@link entmax}'s posterior with respect to the logits:
 * u ⊙ (v − ⟨u, v⟩/⟨u, 1⟩), u_j = q_j^{α−1} p_j^{2−α} on the support, exactly 0 elsewhere.
 *
 * @param gradPosterior v [B, C], gradient with respect to the posterior.
 * @param posterior p [B, C], as {@link entmax} returned it.
 * @param options α and reference measure of the forward pass, device, signal.
 * @returns Gradient with respect to the logits [B, C], float32.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_DEVICE`.
 * @see Peters, Niculae, Martins 2019, arXiv 1905.05702, proposition 2.
 * @example
 * const logits = tensor(new Float32Array([2, 1.5, -1]), [1, 3]);
 * const p = await entmax(logits, { alpha: 1.5 });
 * const grad = await entmaxBackward(tensor(new Float32Array([1, 0, 0]), [1, 3]), p);
 */
export async function entmaxBackward<Posterior extends RealLike>(
  gradPosterior: RealLike,
  posterior: Posterior,
  options: EntmaxBackwardOptions & CallOptions = {},
): Promise<ResultOf<Posterior>> {
  const problem = readProblem(
    'entmaxBackward',
    gradPosterior,
    posterior,
    options,
  );
  const tensor = problem.out.tensor as ResultOf<Posterior>;
  if (problem.rows * problem.classes === 0) return tensor;
  const v = held(problem.gradPosterior);
  const p = held(problem.posterior);
  await invoke('entmaxBackward', entmaxBackward, problem.signal, (cancel) =>
    problem.backend.posteriorBackward(
      v,
      p,
      problem.classes,
      problem.alpha,
      problem.reference,
      problem.out.data,
      cancel,
    ),
  );
  return tensor;
}

/**
 * {@link entmaxBackward} on the calling thread.
 *
 * @example
 * const p = entmaxSync(tensor(new Float32Array([2, 1.5, -1]), [1, 3]));
 * const grad = entmaxBackwardSync(tensor(new Float32Array([1, 0, 0]), [1, 3]), p);
 */
export function entmaxBackwardSync<Posterior extends RealLike>(
  gradPosterior: RealLike,
  posterior: Posterior,
  options: EntmaxBackwardOptions = {},
): ResultOf<Posterior> {
  const problem = readProblem(
    'entmaxBackwardSync',
    gradPosterior,
    posterior,
    options,
  );
  const tensor = problem.out.tensor as ResultOf<Posterior>;
  if (problem.rows * problem.classes === 0) return tensor;
  invokeSync('entmaxBackwardSync', entmaxBackwardSync, () =>
    problem.backend.posteriorBackwardSync(
      problem.gradPosterior.data,
      problem.posterior.data,
      problem.classes,
      problem.alpha,
      problem.reference,
      problem.out.data,
    ),
  );
  return tensor;
}
