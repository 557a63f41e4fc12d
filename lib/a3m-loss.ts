import type { CallOptions } from './invoke.js';
import {
  computeLoss,
  computeLossSync,
  type LossFunctionOptions,
  type LossResult,
} from './loss-result.js';
import { type A3mOptions, a3m } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import type { LabelsLike } from './tensor.js';

/**
 * A3M loss on cosines: angular margin in the logits, θ_y = s·cos(arccos c_y + m), others θ = s·c,
 * under the α-entmax posterior. Beyond an angle of π the target's logit continues monotonically;
 * cosines are held 1e-7 inside ±1 before the angle is taken.
 *
 * Exact to float32 (computed in float64). Inputs are copied when the call is made.
 *
 * @param cosines c [B, C], float32 or float16; finite.
 * @param labels Class of each row [B], in [0, C), or −1: the row is ignored.
 * @param options α (default 1.25), s (32), m (0.2 rad), `detachMargin`, reference measure, device, signal.
 * @returns Losses [B], thresholds, support sizes, and the backward pass.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_DEVICE`.
 * @see Koutsianos et al. 2025, arXiv 2511.13621.
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2, 0.3, 0.6, 0.5]), [2, 3]);
 * const result = await a3mLoss(cosines, new Int32Array([0, 1]), { alpha: 1.25, scale: 32, margin: 0.2 });
 * const gradCosines = await result.backward();
 */
export async function a3mLoss<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: A3mOptions & LossFunctionOptions & CallOptions = {},
): Promise<LossResult<ResultOf<Cosines>>> {
  return computeLoss('a3mLoss', a3mLoss, cosines, labels, a3m, options);
}

/**
 * {@link a3mLoss} on the calling thread.
 *
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2]), [1, 3]);
 * const { loss } = a3mLossSync(cosines, new Int32Array([0]), { alpha: 1.25, scale: 32, margin: 0.2 });
 */
export function a3mLossSync<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: A3mOptions & LossFunctionOptions = {},
): LossResult<ResultOf<Cosines>> {
  return computeLossSync(
    'a3mLossSync',
    a3mLossSync,
    cosines,
    labels,
    a3m,
    options,
  );
}
