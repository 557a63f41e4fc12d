import type { CopyRoom } from './copy-room.js';
import type { DeviceTensor } from './device-tensor.js';
import { AlphaMarginError, invalidArgument } from './errors.js';
import type { HeadResult, LabelledBatch } from './head-options.js';
import type {
  NativeBackend,
  NativeHeadOutputs,
  NativeHeadStats,
  NativeReal,
} from './native.js';
import {
  held,
  makeRoom,
  type RealLike,
  type RealOperand,
  readOperand,
} from './operand.js';
import {
  countedRows,
  readRealTensor,
  snapshot,
  type Tensor,
  type TensorLike,
  tensor,
} from './tensor.js';
import { readArray } from './typed-arrays.js';

/** A checked copy of a batch of embeddings. */
export interface Batch {
  readonly operand: RealOperand;
  readonly data: NativeReal;
  readonly rows: number;
}

/** Checks embeddings [B, D] against the head's width and device and copies them (into `room`). */
export function readBatch(
  name: string,
  argument: string,
  value: RealLike,
  dim: number,
  backend: NativeBackend,
  room?: CopyRoom,
): Batch {
  const input = readOperand(name, argument, value, 2);
  const [rows, width] = input.dims as [number, number];
  if (rows === 0 || width !== dim) {
    throw invalidArgument(
      name,
      `${argument}.dims`,
      `[B, ${dim}] with B >= 1`,
      input.dims,
    );
  }
  if (input.device !== null && input.device !== backend.name) {
    throw new AlphaMarginError(
      'ERR_DEVICE',
      `${name}: expected ${argument} on ${backend.name}, where the head lives, but it is a ` +
        `DeviceTensor on ${input.device}`,
    );
  }
  return { operand: input, data: held(input, room), rows };
}

/** Checks prototypes [rows, D], float32, and copies them. */
export function readPrototypes(
  name: string,
  value: TensorLike,
  rows: number,
  dim: number,
): Float32Array {
  const { data, dims } = readRealTensor(name, 'prototypes', value, 2);
  if (!(data instanceof Float32Array) || dims[0] !== rows || dims[1] !== dim) {
    throw invalidArgument(
      name,
      'prototypes',
      `a float32 tensor [${rows}, ${dim}]`,
      data instanceof Float32Array ? dims : data,
    );
  }
  return snapshot(data);
}

/** Checks a list of identities, as a copy; null means all. */
export function readIdentities(
  name: string,
  value: unknown,
  identities: number,
): Int32Array | null {
  if (value === undefined || value === null) return null;
  const list = readArray(value, 'Int32Array');
  if (list === undefined) {
    throw invalidArgument(name, 'identities', 'an Int32Array', value);
  }
  const copy = snapshot(list);
  const place = copy.findIndex(
    (identity) => identity < 0 || identity >= identities,
  );
  if (place >= 0) {
    throw invalidArgument(
      name,
      `identities[${place}]`,
      `in [0, ${identities})`,
      copy[place],
    );
  }
  return copy;
}

/** Checks that something can be iterated over. */
export function checkBatches<Item>(
  name: string,
  value: AsyncIterable<Item> | Iterable<Item>,
): AsyncIterable<Item> | Iterable<Item> {
  const iterable = value as Partial<AsyncIterable<Item> & Iterable<Item>>;
  if (
    ArrayBuffer.isView(value) ||
    (!iterable?.[Symbol.asyncIterator] && !iterable?.[Symbol.iterator])
  ) {
    throw invalidArgument(name, 'batches', 'an iterable of batches', value);
  }
  return value;
}

/** Checks that something may be a labelled batch; its parts are checked by their readers. */
export function checkBatch(name: string, value: LabelledBatch): LabelledBatch {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument(
      name,
      'each batch',
      'an object { embeddings, labels }',
      value,
    );
  }
  return value;
}

/** Arrays that a step fills in. */
export interface HeadOutputs extends NativeHeadOutputs {
  readonly gradient: Tensor | DeviceTensor | null;
}

/** Allocates the outputs of a step. */
export function makeOutputs(
  backend: NativeBackend,
  { operand, rows }: Batch,
  hasMargins: boolean,
  wantsGradient: boolean,
): HeadOutputs {
  const room = wantsGradient ? makeRoom(backend, operand, operand.dims) : null;
  return {
    losses: new Float32Array(rows),
    gradEmbeddings: room === null ? null : room.data,
    gradient: room === null ? null : room.tensor,
    supportSize: new Int32Array(rows),
    targetActive: new Uint8Array(rows),
    gradMargins: hasMargins ? new Float32Array(rows) : null,
  };
}

/** The public form of filled outputs. */
export function makeResult<Gradient, GradMargins>(
  labels: Int32Array,
  outputs: HeadOutputs,
  stats: NativeHeadStats,
): HeadResult<Gradient, GradMargins> {
  const { losses, gradient, gradMargins, supportSize, targetActive } = outputs;
  const total = losses.reduce((sum, loss) => sum + loss, 0);
  const counted = countedRows(labels);
  return {
    loss: counted === 0 ? 0 : total / counted,
    losses,
    gradEmbeddings: gradient as Gradient,
    gradMargins: (gradMargins &&
      tensor(gradMargins, [gradMargins.length])) as GradMargins,
    supportSize,
    targetActive,
    stats,
  };
}
