/**
 * The head and α-entmax as differentiable operations of TensorFlow.js. Needs
 * `@tensorflow/tfjs-core` 4.22 or newer, which `@tensorflow/tfjs` and `@tensorflow/tfjs-node`
 * bring along.
 *
 * @packageDocumentation
 */

export { entmax } from './entmax.js';
export { type HeadLossOptions, headLoss } from './head-loss.js';
