import { customGrad, type Tensor, tensor } from '@tensorflow/tfjs-core';
import { type EntmaxOptions, entmaxSync } from '../entmax.js';
import { entmaxBackwardSync } from '../entmax-backward.js';
import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { readReference } from '../tensor.js';
import {
  checkTensor,
  elements,
  firstDerivative,
  inCallersName,
} from './tf-tensors.js';

/**
 * α-entmax over the last axis of a tfjs tensor, as a differentiable operation:
 *
 *     p_j = q_j [1 + (α−1)(θ_j − τ)]_+^{1/(α−1)},   τ such that Σ_j p_j = 1
 *     ∂/∂θ = u ⊙ (v − ⟨u, v⟩/⟨u, 1⟩),   u_j = q_j^{α−1} p_j^{2−α} on the support, else 0
 *
 * with v the gradient of p. α = 1 is softmax with prior q, 2 sparsemax. A drop-in for `tf.softmax`
 * where exact zeros are wanted, as in attention. Exact to float32 (computed in float64), on the
 * calling thread. First derivatives only.
 *
 * @param logits θ [..., C], float32, of rank 1 or more; finite.
 * @param options α (default 1.5), reference measure q [C] (all 1), device ('auto').
 * @returns Posterior [..., C], of the shape of the logits.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE` (names the row, all leading
 * axes counted as one), `ERR_DISPOSED`, `ERR_DEVICE`.
 * @see Peters, Niculae, Martins 2019, arXiv 1905.05702.
 * @example
 * import * as tf from '@tensorflow/tfjs';
 * import { entmax } from 'alphamargin/tfjs';
 * const p = entmax(tf.tensor2d([[2, 1, -1]]), { alpha: 2 }); // [[1, 0, 0]]
 */
export function entmax<Logits extends Tensor>(
  logits: Logits,
  options: EntmaxOptions = {},
): Logits {
  const name = 'entmax';
  const x = checkTensor(name, 'logits', logits, 'float32');
  const { shape } = x;
  if (shape.length === 0) {
    throw invalidArgument(name, 'logits.shape', 'of one size or more', shape);
  }
  const classes = shape.at(-1)!;
  const rows = shape.slice(0, -1).reduce((count, size) => count * size, 1);
  const dims = [rows, classes];
  const given = readOptions<EntmaxOptions>(name, options, [
    'alpha',
    'reference',
    'device',
  ]);
  // A copy: the backward pass must see what the forward pass saw.
  const reference = readReference(name, given.reference, classes);
  const settings = { ...given, reference };
  const data = elements<Float32Array>(name, 'logits', x);
  const posterior = inCallersName(name, () =>
    entmaxSync({ data, dims }, settings),
  );
  return customGrad<Logits>(() => ({
    value: tensor(posterior.data, shape) as Logits,
    gradFunc: (dy) =>
      firstDerivative(name, x, dy, () => {
        const v = { data: elements<Float32Array>(name, 'dy', dy), dims };
        const gradient = inCallersName(name, () =>
          entmaxBackwardSync(v, posterior, settings),
        );
        return tensor(gradient.data, shape);
      }),
  }))(x);
}
