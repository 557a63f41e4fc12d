import { checkDevice, type Device } from './device.js';
import { invalidArgument } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import type { LossSpecification } from './loss-specification.js';
import { type NativeLossOutputs, native, type RealData } from './native.js';
import { readOptions } from './options.js';
import {
  type LabelsLike,
  readLabels,
  readRealTensor,
  readReference,
  snapshot,
  type Tensor,
  type TensorLike,
} from './tensor.js';

/** What a loss function returns. */
export interface LossResult {
  /** ℓ of each row [B], ≥ 0. */
  readonly loss: Tensor;
  /** Threshold τ of each row, in units of the logits s·c. */
  readonly threshold: Float32Array;
  /** Classes with a positive posterior, per row. */
  readonly supportSize: Int32Array;
  /** 1 where the target's posterior is positive; its absence is A3M's collapse diagnostic. */
  readonly targetActive: Uint8Array;
  /**
   * Gradient with respect to the cosines [B, C].
   *
   * @param gradLoss Gradient with respect to the losses [B]; default 1/B each (mean reduction).
   */
  backward(gradLoss?: TensorLike, options?: CallOptions): Promise<Tensor>;
  /** {@link LossResult.backward} on the calling thread. */
  backwardSync(gradLoss?: TensorLike): Tensor;
}

/** Options that every loss function takes beside its own. */
export interface LossFunctionOptions {
  /** Reference measure q [C], positive, not normalised. Default all 1. */
  reference?: Float32Array | TensorLike | null;
  /** Where to compute. Default `'auto'`. */
  device?: Device;
}

/** A public function whose frames are left out of an error's stack. */
type Caller = (...parameters: never[]) => unknown;

/** Checked copies of a call's inputs: the backward pass reads them again, after the caller. */
interface LossProblem {
  readonly name: string;
  readonly cosines: RealData;
  readonly rows: number;
  readonly classes: number;
  readonly labels: Int32Array;
  readonly loss: LossSpecification;
  readonly reference: Float32Array | null;
  readonly outputs: NativeLossOutputs;
}

/** Makes a loss specification from the options that are a loss's own. */
type SpecificationOf<Options> = (options: Options) => LossSpecification;

function readProblem<Options>(
  name: string,
  cosines: TensorLike,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions & CallOptions,
): LossProblem & CallOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(name, 'options', 'an object', options);
  }
  const { reference, device, signal, ...own } = options;
  readOptions<CallOptions>(name, { signal }, ['signal']);
  checkDevice(name, device);
  const loss = specification(own as Options);
  const input = readRealTensor(name, 'cosines', cosines, 2);
  const [rows, classes] = input.dims as [number, number];
  if (rows === 0 || classes === 0) {
    throw invalidArgument(
      name,
      'cosines.dims',
      'at least one row and one class',
      input.dims,
    );
  }
  return {
    name,
    signal,
    rows,
    classes,
    loss,
    labels: readLabels(name, labels, rows),
    reference: readReference(name, reference, classes),
    cosines: snapshot(input.data),
    outputs: {
      loss: new Float32Array(rows),
      threshold: new Float32Array(rows),
      supportSize: new Int32Array(rows),
      targetActive: new Uint8Array(rows),
      solution: new Float64Array(rows * native().solutionSize),
    },
  };
}

function readGradLoss(
  name: string,
  value: TensorLike | undefined,
  rows: number,
): Float32Array | null {
  if (value === undefined) return null;
  const { data } = readRealTensor(name, 'gradLoss', value, 1);
  if (!(data instanceof Float32Array) || data.length !== rows) {
    throw invalidArgument(name, 'gradLoss', `a float32 tensor [${rows}]`, data);
  }
  return snapshot(data);
}

/** The first five arguments of both passes of the addon. */
function inputsOf(problem: LossProblem) {
  const { cosines, classes, labels, loss, reference } = problem;
  return [cosines, classes, labels, loss, reference] as const;
}

function resultOf(problem: LossProblem): LossResult {
  const { loss, threshold, supportSize, targetActive, solution } =
    problem.outputs;
  const name = `${problem.name}.backward`;
  const gradient = (): Tensor => ({
    type: 'float32',
    data: new Float32Array(problem.rows * problem.classes),
    dims: [problem.rows, problem.classes],
  });
  async function backward(
    gradLoss?: TensorLike,
    options: CallOptions = {},
  ): Promise<Tensor> {
    const { signal } = readOptions<CallOptions>(name, options, ['signal']);
    const upstream = readGradLoss(name, gradLoss, problem.rows);
    const out = gradient();
    await invoke(name, backward, signal, (cancel) =>
      native().lossBackward(
        ...inputsOf(problem),
        solution,
        upstream,
        out.data,
        cancel,
      ),
    );
    return out;
  }
  function backwardSync(gradLoss?: TensorLike): Tensor {
    const upstream = readGradLoss(name, gradLoss, problem.rows);
    const out = gradient();
    invokeSync(name, backwardSync, () =>
      native().lossBackwardSync(
        ...inputsOf(problem),
        solution,
        upstream,
        out.data,
      ),
    );
    return out;
  }
  return {
    loss: { type: 'float32', data: loss, dims: [problem.rows] },
    threshold,
    supportSize,
    targetActive,
    backward,
    backwardSync,
  };
}

/** Runs a loss off the event loop: the body of every `…Loss` function. */
export async function computeLoss<Options>(
  name: string,
  caller: Caller,
  cosines: TensorLike,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions & CallOptions,
): Promise<LossResult> {
  const problem = readProblem(name, cosines, labels, specification, options);
  await invoke(name, caller, problem.signal, (cancel) =>
    native().lossForward(...inputsOf(problem), problem.outputs, cancel),
  );
  return resultOf(problem);
}

/** Runs a loss on the calling thread: the body of every `…LossSync` function. */
export function computeLossSync<Options>(
  name: string,
  caller: Caller,
  cosines: TensorLike,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions,
): LossResult {
  const problem = readProblem(name, cosines, labels, specification, options);
  invokeSync(name, caller, () =>
    native().lossForwardSync(...inputsOf(problem), problem.outputs),
  );
  return resultOf(problem);
}
