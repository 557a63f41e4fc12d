import type { CallOptions } from './invoke.js';
import {
  computeLoss,
  computeLossSync,
  type LossFunctionOptions,
  type LossResult,
} from './loss-result.js';
import { type CosFaceOptions, cosFace } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import type { LabelsLike } from './tensor.js';

/**
 * CosFace loss on cosines: θ_y = s·(c_y − m), others θ = s·c; softmax cross-entropy unless α > 1.
 *
 * Exact to float32 (computed in float64). Inputs are copied when the call is made.
 *
 * @param cosines c [B, C], float32 or float16; finite.
 * @param labels Class of each row [B], in [0, C), or −1: the row is ignored.
 * @param options α (default 1), s (64), m (0.35), reference measure, device, signal.
 * @returns Losses [B], thresholds, support sizes, and the backward pass.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_DEVICE`.
 * @see Wang et al. 2018, arXiv 1801.09414.
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2, 0.3, 0.6, 0.5]), [2, 3]);
 * const result = await cosFaceLoss(cosines, new Int32Array([0, 1]), { scale: 64, margin: 0.35 });
 * const gradCosines = await result.backward();
 */
export async function cosFaceLoss<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: CosFaceOptions & LossFunctionOptions & CallOptions = {},
): Promise<LossResult<ResultOf<Cosines>>> {
  return computeLoss(
    'cosFaceLoss',
    cosFaceLoss,
    cosines,
    labels,
    cosFace,
    options,
  );
}

/**
 * {@link cosFaceLoss} on the calling thread.
 *
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2]), [1, 3]);
 * const { loss } = cosFaceLossSync(cosines, new Int32Array([0]), { scale: 64, margin: 0.35 });
 */
export function cosFaceLossSync<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: CosFaceOptions & LossFunctionOptions = {},
): LossResult<ResultOf<Cosines>> {
  return computeLossSync(
    'cosFaceLossSync',
    cosFaceLossSync,
    cosines,
    labels,
    cosFace,
    options,
  );
}
