import { chooseBackendFor, type Device } from './device.js';
import { invalidArgument } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import type { LossSpecification } from './loss-specification.js';
import type {
  NativeBackend,
  NativeLoss,
  NativeLossOutputs,
  NativeReal,
} from './native.js';
import {
  held,
  makeRoom,
  type RealLike,
  type RealOperand,
  type ResultOf,
  readOperand,
} from './operand.js';
import { readOptions } from './options.js';
import { nativeLoss, type RowMarginOptions } from './row-margins.js';
import {
  countedRows,
  type FloatsLike,
  IGNORED_LABEL,
  type LabelsLike,
  type Matrix,
  readLabels,
  readRealTensor,
  readReference,
  snapshot,
  type TensorLike,
  type Vector,
} from './tensor.js';

/**
 * What a loss function returns. Per-row results lie in host memory; the gradient lies where the
 * cosines do.
 */
export interface LossResult<Gradient = Matrix> {
  /** ℓ of each row [B], ≥ 0; 0 for ignored rows (label −1), as all that is of a row. */
  readonly loss: Vector;
  /** Threshold τ of each row, in units of the logits s·c. */
  readonly threshold: Float32Array;
  /** Classes with a positive posterior, per row. */
  readonly supportSize: Int32Array;
  /** 1 where the target's posterior is positive; its absence is A3M's collapse diagnostic. */
  readonly targetActive: Uint8Array;
  /**
   * Gradient with respect to the cosines [B, C].
   *
   * @param gradLoss Gradient with respect to the losses [B]; default 1/B each (mean reduction), B
   * the number of rows that count.
   */
  backward(gradLoss?: TensorLike, options?: CallOptions): Promise<Gradient>;
  /** {@link LossResult.backward} on the calling thread. */
  backwardSync(gradLoss?: TensorLike): Gradient;
  /**
   * Gradient with respect to the `margins` of the rows [B]: the true derivative, whatever
   * `detachMargin` is.
   *
   * @param gradLoss As in {@link LossResult.backward}.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when the loss was called without `margins`.
   */
  gradMargins(gradLoss?: TensorLike): Vector;
}

/** Options that every loss function takes beside its own. */
export interface LossFunctionOptions extends RowMarginOptions {
  /** Reference measure q [C], positive, not normalised. Default all 1. */
  reference?: FloatsLike | null | undefined;
  /** Where to compute. Default `'auto'`. */
  device?: Device | undefined;
}

/** A public function whose frames are left out of an error's stack. */
type Caller = (...parameters: never[]) => unknown;

/** Checked copies of a call's inputs: the backward pass reads them again, after the caller. */
interface LossProblem {
  readonly name: string;
  readonly backend: NativeBackend;
  readonly operand: RealOperand;
  readonly cosines: NativeReal;
  readonly rows: number;
  readonly classes: number;
  readonly labels: Int32Array;
  readonly loss: NativeLoss;
  readonly reference: Float32Array | null;
  readonly outputs: NativeLossOutputs;
}

/** Makes a loss specification from the options that are a loss's own. */
type SpecificationOf<Options> = (options: Options) => LossSpecification;

function readProblem<Options>(
  name: string,
  cosines: RealLike,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions & CallOptions,
): LossProblem & CallOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument(name, 'options', 'an object', options);
  }
  const { reference, margins, device, signal, ...own } = options;
  readOptions<CallOptions>(name, { signal }, ['signal']);
  const given = specification(own as Options);
  const operand = readOperand(name, 'cosines', cosines, 2);
  const backend = chooseBackendFor(name, device, operand);
  const [rows, classes] = operand.dims as [number, number];
  if (rows === 0 || classes === 0) {
    throw invalidArgument(
      name,
      'cosines.dims',
      'at least one row and one class',
      operand.dims,
    );
  }
  const checked = readLabels(name, labels, rows);
  const loss = nativeLoss(name, given, checked, margins);
  return {
    name,
    backend,
    operand,
    signal,
    rows,
    classes,
    loss,
    labels: checked,
    reference: readReference(name, reference, classes),
    cosines: held(operand),
    outputs: {
      loss: new Float32Array(rows),
      threshold: new Float32Array(rows),
      supportSize: new Int32Array(rows),
      targetActive: new Uint8Array(rows),
      solution: new Float64Array(rows * backend.solutionSize),
      marginGradient: loss.margins && new Float32Array(rows),
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

/** ∂ℓ/∂m of each row times the gradient of its loss. */
function marginGradients(
  problem: LossProblem,
  gradLoss: TensorLike | undefined,
): Vector {
  const name = `${problem.name}.gradMargins`;
  const { marginGradient } = problem.outputs;
  if (marginGradient === null) {
    throw invalidArgument(name, 'the loss', 'called with margins', null);
  }
  const upstream = readGradLoss(name, gradLoss, problem.rows);
  const counted = countedRows(problem.labels);
  const data = marginGradient.map((slope, row) =>
    problem.labels[row] === IGNORED_LABEL
      ? 0
      : slope * (upstream?.[row] ?? 1 / counted),
  );
  return { type: 'float32', data, dims: [problem.rows] };
}

function resultOf<Gradient>(problem: LossProblem): LossResult<Gradient> {
  const { loss, threshold, supportSize, targetActive, solution } =
    problem.outputs;
  const name = `${problem.name}.backward`;
  const room = () =>
    makeRoom(problem.backend, problem.operand, [problem.rows, problem.classes]);
  async function backward(
    gradLoss?: TensorLike,
    options: CallOptions = {},
  ): Promise<Gradient> {
    const { signal } = readOptions<CallOptions>(name, options, ['signal']);
    const upstream = readGradLoss(name, gradLoss, problem.rows);
    const out = room();
    await invoke(name, backward, signal, (cancel) =>
      problem.backend.lossBackward(
        ...inputsOf(problem),
        solution,
        upstream,
        out.data,
        cancel,
      ),
    );
    return out.tensor as Gradient;
  }
  function backwardSync(gradLoss?: TensorLike): Gradient {
    const upstream = readGradLoss(name, gradLoss, problem.rows);
    const out = room();
    invokeSync(name, backwardSync, () =>
      problem.backend.lossBackwardSync(
        ...inputsOf(problem),
        solution,
        upstream,
        out.data,
      ),
    );
    return out.tensor as Gradient;
  }
  return {
    loss: { type: 'float32', data: loss, dims: [problem.rows] },
    threshold,
    supportSize,
    targetActive,
    backward,
    backwardSync,
    gradMargins: (gradLoss) => marginGradients(problem, gradLoss),
  };
}

/** Runs a loss off the event loop: the body of every `…Loss` function. */
export async function computeLoss<Options, Cosines extends RealLike>(
  name: string,
  caller: Caller,
  cosines: Cosines,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions & CallOptions,
): Promise<LossResult<ResultOf<Cosines>>> {
  const problem = readProblem(name, cosines, labels, specification, options);
  await invoke(name, caller, problem.signal, (cancel) =>
    problem.backend.lossForward(...inputsOf(problem), problem.outputs, cancel),
  );
  return resultOf(problem);
}

/** Runs a loss on the calling thread: the body of every `…LossSync` function. */
export function computeLossSync<Options, Cosines extends RealLike>(
  name: string,
  caller: Caller,
  cosines: Cosines,
  labels: LabelsLike,
  specification: SpecificationOf<Options>,
  options: Options & LossFunctionOptions,
): LossResult<ResultOf<Cosines>> {
  const problem = readProblem(name, cosines, labels, specification, options);
  invokeSync(name, caller, () =>
    problem.backend.lossForwardSync(...inputsOf(problem), problem.outputs),
  );
  return resultOf(problem);
}
