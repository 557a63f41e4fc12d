import {
  customGrad,
  mul,
  type Scalar,
  scalar,
  Tensor,
  tensor,
} from '@tensorflow/tfjs-core';
import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { PrototypeHead } from '../prototype-head.js';
import type { LabelsLike } from '../tensor.js';
import {
  checkTensor,
  elements,
  firstDerivative,
  inCallersName,
} from './tf-tensors.js';

/** Options of {@link headLoss}. */
export interface HeadLossOptions {
  /**
   * Whether the prototypes are updated too (`PrototypeHead.stepSync`) or stay as they are
   * (`PrototypeHead.evaluateSync`). Default true.
   */
  update?: boolean | undefined;
}

/**
 * Mean loss of a head over a batch of embeddings, differentiable with respect to the embeddings:
 *
 *     L = 1/B Σ_i ℓ(x_i, y_i),   x [B, D],   ∂L/∂x [B, D] as `PrototypeHead.step` returns it
 *
 * `optimizer.minimize(() => headLoss(head, model.apply(x), labels))` trains the backbone, and the
 * prototypes with it. **Each call is one step of the head**: loss, gradient and update happen
 * together, when the call is made, exactly once, whether a gradient is asked for or not. The
 * gradient is that of the prototypes before the update. The head's own update rule moves the
 * prototypes; factors on the loss (`mul(0.5, headLoss(…))`) reach the embeddings only. To measure
 * without training: `{ update: false }`. If a later part of the loss function throws, the step
 * stays done.
 *
 * The call blocks the event loop, since custom gradients of tfjs are synchronous. Embeddings pass
 * through the memory of Node; a head on a GPU uploads them. First derivatives only.
 *
 * @param head The head. Its asynchronous calls must have ended.
 * @param embeddings x [B, D], float32, raw (they are normalised inside).
 * @param labels Identity of each row [B], in [0, C), or −1 for a row to ignore: any labels the head accepts, or an int32
 * tensor of tfjs.
 * @param options `update`.
 * @returns L, a scalar. The caller disposes it, or `tf.tidy` does; nothing else is left behind.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
 * `ERR_OUT_OF_MEMORY`, `ERR_DISPOSED`, `ERR_BUSY`, `ERR_DEVICE` (a backend of tfjs that cannot be
 * read synchronously). A failed call changes nothing.
 * @example
 * import * as tf from '@tensorflow/tfjs';
 * import { PrototypeHead, qMargin, sgd } from 'alphamargin';
 * import { headLoss } from 'alphamargin/tfjs';
 * const head = new PrototypeHead({
 *   identities: 1000, dim: 64, loss: qMargin(), optimizer: sgd({ learningRate: 0.1 }),
 * });
 * const optimizer = tf.train.adam(1e-3);
 * optimizer.minimize(() => headLoss(head, model.apply(images), labels));
 */
export function headLoss(
  head: PrototypeHead,
  embeddings: Tensor,
  labels: LabelsLike | Tensor,
  options: HeadLossOptions = {},
): Scalar {
  const name = 'headLoss';
  if (!(head instanceof PrototypeHead)) {
    throw invalidArgument(name, 'head', 'a PrototypeHead', head);
  }
  const { update = true } = readOptions<HeadLossOptions>(name, options, [
    'update',
  ]);
  if (typeof update !== 'boolean') {
    throw invalidArgument(name, 'update', 'true or false', update);
  }
  const x = checkTensor(name, 'embeddings', embeddings, 'float32');
  const classes = readClasses(name, labels);
  const data = elements<Float32Array>(name, 'embeddings', x);
  // Outside of tfjs: it must happen once, and its errors should lead to the caller.
  const { loss, gradEmbeddings } = inCallersName(name, () =>
    update
      ? head.stepSync({ data, dims: x.shape }, classes)
      : head.evaluateSync({ data, dims: x.shape }, classes),
  );
  return customGrad<Scalar>(() => ({
    value: scalar(loss),
    gradFunc: (dy) =>
      firstDerivative(name, x, dy, () =>
        mul(dy, tensor(gradEmbeddings.data, x.shape)),
      ),
  }))(x);
}

/** Labels in a form that the head reads. */
function readClasses(name: string, labels: LabelsLike | Tensor): LabelsLike {
  if (!(labels instanceof Tensor)) return labels;
  // tf.tensor1d([0, 1]) makes float32: the message says what to do about it.
  const y = checkTensor(name, 'labels', labels, 'int32');
  return elements<Int32Array>(name, 'labels', y);
}
