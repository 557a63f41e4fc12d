import type { CallOptions } from './invoke.js';
import {
  computeLoss,
  computeLossSync,
  type LossFunctionOptions,
  type LossResult,
} from './loss-result.js';
import { type ArcFaceOptions, arcFace } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import type { LabelsLike } from './tensor.js';

/**
 * ArcFace loss on cosines: θ_y = s·cos(arccos c_y + m), others θ = s·c; softmax cross-entropy
 * unless α > 1.
 *
 * Exact to float32 (computed in float64). Inputs are copied when the call is made.
 *
 * @param cosines c [B, C], float32 or float16; finite.
 * @param labels Class of each row [B], in [0, C), or −1: the row is ignored.
 * @param options α (default 1), s (64), m (0.5 rad), `detachMargin`, reference measure, device, signal.
 * @returns Losses [B], thresholds, support sizes, and the backward pass.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_DEVICE`.
 * @see Deng et al. 2019, arXiv 1801.07698.
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2, 0.3, 0.6, 0.5]), [2, 3]);
 * const result = await arcFaceLoss(cosines, new Int32Array([0, 1]), { scale: 64, margin: 0.5 });
 * const gradCosines = await result.backward();
 */
export async function arcFaceLoss<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: ArcFaceOptions & LossFunctionOptions & CallOptions = {},
): Promise<LossResult<ResultOf<Cosines>>> {
  return computeLoss(
    'arcFaceLoss',
    arcFaceLoss,
    cosines,
    labels,
    arcFace,
    options,
  );
}

/**
 * {@link arcFaceLoss} on the calling thread.
 *
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2]), [1, 3]);
 * const { loss } = arcFaceLossSync(cosines, new Int32Array([0]), { scale: 64, margin: 0.5 });
 */
export function arcFaceLossSync<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: ArcFaceOptions & LossFunctionOptions = {},
): LossResult<ResultOf<Cosines>> {
  return computeLossSync(
    'arcFaceLossSync',
    arcFaceLossSync,
    cosines,
    labels,
    arcFace,
    options,
  );
}
