import { checkDevice, type Device } from './device.js';
import { invalidArgument } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import { checkAlpha } from './loss-specification.js';
import { native, type RealData } from './native.js';
import { readOptions } from './options.js';
import {
  readRealTensor,
  readReference,
  snapshot,
  type Tensor,
  type TensorLike,
} from './tensor.js';

/** Options of {@link entmaxBackward}. */
export interface EntmaxBackwardOptions {
  /** Divergence order α ≥ 1 of the forward pass. Default 1.5. */
  alpha?: number;
  /** Reference measure q [C] of the forward pass. Default all 1. */
  reference?: Float32Array | TensorLike | null;
  /** Where to compute. Default `'auto'`. */
  device?: Device;
}

interface Problem {
  readonly gradPosterior: RealData;
  readonly posterior: RealData;
  readonly classes: number;
  readonly alpha: number;
  readonly reference: Float32Array | null;
  readonly out: Tensor;
}

function readProblem(
  functionName: string,
  gradPosterior: TensorLike,
  posterior: TensorLike,
  options: EntmaxBackwardOptions & CallOptions,
): Problem {
  const given = readOptions<EntmaxBackwardOptions & CallOptions>(
    functionName,
    options,
    ['alpha', 'reference', 'device', 'signal'],
  );
  checkDevice(functionName, given.device);
  const alpha = checkAlpha(functionName, given.alpha ?? 1.5);
  const p = readRealTensor(functionName, 'posterior', posterior, 2);
  const v = readRealTensor(functionName, 'gradPosterior', gradPosterior, 2);
  const [rows, classes] = p.dims as [number, number];
  if (v.dims[0] !== rows || v.dims[1] !== classes) {
    throw invalidArgument(
      functionName,
      'gradPosterior.dims',
      `those of posterior, [${rows}, ${classes}],`,
      v.dims,
    );
  }
  return {
    gradPosterior: v.data,
    posterior: p.data,
    classes,
    alpha,
    reference: readReference(functionName, given.reference, classes),
    out: {
      type: 'float32',
      data: new Float32Array(rows * classes),
      dims: [rows, classes],
    },
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
export async function entmaxBackward(
  gradPosterior: TensorLike,
  posterior: TensorLike,
  options: EntmaxBackwardOptions & CallOptions = {},
): Promise<Tensor> {
  const problem = readProblem(
    'entmaxBackward',
    gradPosterior,
    posterior,
    options,
  );
  if (problem.out.data.length === 0) return problem.out;
  const v = snapshot(problem.gradPosterior);
  const p = snapshot(problem.posterior);
  await invoke('entmaxBackward', entmaxBackward, options.signal, (cancel) =>
    native().posteriorBackward(
      v,
      p,
      problem.classes,
      problem.alpha,
      problem.reference,
      problem.out.data,
      cancel,
    ),
  );
  return problem.out;
}

/**
 * {@link entmaxBackward} on the calling thread.
 *
 * @example
 * const p = entmaxSync(tensor(new Float32Array([2, 1.5, -1]), [1, 3]));
 * const grad = entmaxBackwardSync(tensor(new Float32Array([1, 0, 0]), [1, 3]), p);
 */
export function entmaxBackwardSync(
  gradPosterior: TensorLike,
  posterior: TensorLike,
  options: EntmaxBackwardOptions = {},
): Tensor {
  const problem = readProblem(
    'entmaxBackwardSync',
    gradPosterior,
    posterior,
    options,
  );
  if (problem.out.data.length === 0) return problem.out;
  invokeSync('entmaxBackwardSync', entmaxBackwardSync, () =>
    native().posteriorBackwardSync(
      problem.gradPosterior,
      problem.posterior,
      problem.classes,
      problem.alpha,
      problem.reference,
      problem.out.data,
    ),
  );
  return problem.out;
}
