/**
 * Exact, sparse α-divergence margin losses and prototype heads for face and speaker verification.
 *
 * @packageDocumentation
 */

export { a3mLoss, a3mLossSync } from './a3m-loss.js';
export { arcFaceLoss, arcFaceLossSync } from './arcface-loss.js';
export { type BackendInfo, backendInfo } from './backend-info.js';
/** What a caller keeps in a checkpoint beside the head. */
export type { CheckpointExtra } from './checkpoint.js';
export { cosFaceLoss, cosFaceLossSync } from './cosface-loss.js';
export * from './data/index.js';
/** Names of devices. */
export type { Device } from './device.js';
export {
  DeviceTensor,
  type DeviceTensorType,
  type UploadOptions,
} from './device-tensor.js';
export {
  type EntmaxOptions,
  entmax,
  entmaxSync,
  sparseEntmax,
  sparseEntmaxSync,
} from './entmax.js';
export {
  type EntmaxBackwardOptions,
  entmaxBackward,
  entmaxBackwardSync,
} from './entmax-backward.js';
export { entmaxLoss, entmaxLossSync } from './entmax-loss.js';
export { AlphaMarginError, type AlphaMarginErrorCode } from './errors.js';
/** Options and results of a head. */
export type {
  FilterName,
  HeadMemory,
  HeadResult,
  HeadStats,
  LabelledBatch,
  NearestOptions,
  NearestResult,
  PrototypeHeadOptions,
} from './head-options.js';
/** Options that several losses share. */
export type { InterTopK, SharedLossOptions } from './inter-top-k.js';
/** Options of every asynchronous call. */
export type { CallOptions } from './invoke.js';
export * from './io/index.js';
/** Options and results of the loss functions on cosines. */
export type { LossFunctionOptions, LossResult } from './loss-result.js';
export {
  type A3mOptions,
  type ArcFaceOptions,
  a3m,
  arcFace,
  type CombinedMarginOptions,
  type CosFaceOptions,
  combinedMargin,
  cosFace,
  type EntmaxHeadOptions,
  entmaxHead,
  type LossSpecification,
  type QMarginOptions,
  qMargin,
} from './loss-specification.js';
export { type MemoryUsage, memory } from './memory.js';
/** What the addon says of itself, of its device and of a step. */
export type {
  CudaDevice,
  NativeBackendInfo,
  NativeHeadStats,
  RealData,
} from './native.js';
/** What calls take for numbers, and what they return for it. */
export type { RealLike, ResultOf } from './operand.js';
export {
  type AdagradOptions,
  adagrad,
  type OptimizerSpecification,
  type SgdOptions,
  sgd,
} from './optimizer.js';
export { PrototypeHead } from './prototype-head.js';
export { qMarginLoss, qMarginLossSync } from './q-margin-loss.js';
export {
  type CountsLike,
  type ReferenceFromCountsOptions,
  referenceFromCounts,
} from './reference-from-counts.js';
/** Margins of a batch's rows. */
export type {
  MarginGradients,
  MarginsLike,
  RowMarginOptions,
} from './row-margins.js';
/** Factors over a training run, for learning rates and margins. */
export * from './schedules.js';
export {
  type CsrMatrix,
  type FloatsLike,
  type LabelsLike,
  type Matrix,
  type SizesOf,
  type Tensor,
  type TensorDataByType,
  type TensorLike,
  type TensorType,
  tensor,
  type Vector,
} from './tensor.js';
export { setThreadCount } from './thread-count.js';
export * from './verification/index.js';
