import type { CallOptions } from './invoke.js';
import {
  computeLoss,
  computeLossSync,
  type LossFunctionOptions,
  type LossResult,
} from './loss-result.js';
import { type QMarginOptions, qMargin } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import type { LabelsLike } from './tensor.js';

/**
 * Q-Margin loss on cosines: the target's reference measure is q_y·exp(−s·m), the logits are
 * θ = s·c,
 * ℓ = Σ p_j(θ_j − θ_y) + (q_y^{1−α} − Σ q_j^{1−α} p_j^α)/(α(α−1)) with p the α-entmax posterior.
 *
 * ℓ is 0, with a gradient of exactly 0, iff c_y exceeds every other cosine by at least Γ/β,
 * β = (α−1)s, Γ = exp(βm) (q = 1).
 *
 * Exact to float32 (computed in float64). Inputs are copied when the call is made.
 *
 * @param cosines c [B, C], float32 or float16; finite.
 * @param labels Class of each row [B], in [0, C), or −1: the row is ignored.
 * @param options α (default 1.25), s (32), m (0.2), reference measure, device, signal.
 * @returns Losses [B], thresholds, support sizes, and the backward pass.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_DEVICE`.
 * @see Koutsianos et al. 2025, arXiv 2511.13621; 2026, arXiv 2606.31664.
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2, 0.3, 0.6, 0.5]), [2, 3]);
 * const result = await qMarginLoss(cosines, new Int32Array([0, 1]), { alpha: 1.25, scale: 32, margin: 0.2 });
 * const gradCosines = await result.backward();
 */
export async function qMarginLoss<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: QMarginOptions & LossFunctionOptions & CallOptions = {},
): Promise<LossResult<ResultOf<Cosines>>> {
  return computeLoss(
    'qMarginLoss',
    qMarginLoss,
    cosines,
    labels,
    qMargin,
    options,
  );
}

/**
 * {@link qMarginLoss} on the calling thread.
 *
 * @example
 * const cosines = tensor(new Float32Array([0.7, 0.1, 0.2]), [1, 3]);
 * const { loss } = qMarginLossSync(cosines, new Int32Array([0]), { alpha: 1.25, scale: 32, margin: 0.2 });
 */
export function qMarginLossSync<Cosines extends RealLike>(
  cosines: Cosines,
  labels: LabelsLike,
  options: QMarginOptions & LossFunctionOptions = {},
): LossResult<ResultOf<Cosines>> {
  return computeLossSync(
    'qMarginLossSync',
    qMarginLossSync,
    cosines,
    labels,
    qMargin,
    options,
  );
}
