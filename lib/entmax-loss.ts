import type { CallOptions } from './invoke.js';
import {
  computeLoss,
  computeLossSync,
  type LossFunctionOptions,
  type LossResult,
} from './loss-result.js';
import { type EntmaxHeadOptions, entmaxHead } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import type { LabelsLike } from './tensor.js';

/**
 * α-divergence (Fenchel–Young) loss on cosines without a margin: θ = s·c under the α-entmax
 * posterior; α = 1 is softmax cross-entropy, 2 the sparsemax loss.
 *
 * Exact to float32 (computed in float64). Inputs are copied when the call is made.
 *
 * @param cosines c [B, C], float32 or float16; finite.
 * @param labels Class of each row [B], in [0, C), or −1: the row is ignored.
 * @param options α (default 1.25), s (32), reference measure, device, signal.
 * @returns Losses [B], thresholds, support sizes, and the backward pass.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_DEVICE`.
 * @see Roulet et al. 2025, arXiv 2501.18537; Blondel, Martins, Niculae 2020, arXiv 1901.02324.
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2, 0.3, 0.6, 0.5]), [2, 3]);
 * const result = await entmaxLoss(cosines, new Int32Array([0, 1]), { alpha: 1.5, scale: 10 });
 * const gradCosines = await result.backward();
 */
export async function entmaxLoss<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: EntmaxHeadOptions & LossFunctionOptions & CallOptions = {},
): Promise<LossResult<ResultOf<Cosines>>> {
  return computeLoss(
    'entmaxLoss',
    entmaxLoss,
    cosines,
    labels,
    entmaxHead,
    options,
  );
}

/**
 * {@link entmaxLoss} on the calling thread.
 *
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2]), [1, 3]);
 * const { loss } = entmaxLossSync(cosines, new Int32Array([0]), { alpha: 1.5, scale: 10 });
 */
export function entmaxLossSync<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: EntmaxHeadOptions & LossFunctionOptions = {},
): LossResult<ResultOf<Cosines>> {
  return computeLossSync(
    'entmaxLossSync',
    entmaxLossSync,
    cosines,
    labels,
    entmaxHead,
    options,
  );
}
