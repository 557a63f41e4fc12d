import { invalidArgument } from './errors.js';
import type { HeadResult, LabelledBatch } from './head-options.js';
import type { NativeHeadOutputs, NativeHeadStats, RealData } from './native.js';
import { readRealTensor, snapshot, type TensorLike } from './tensor.js';

/** A checked copy of a batch of embeddings. */
export interface Batch {
  readonly data: RealData;
  readonly rows: number;
}

/** Checks embeddings [B, D] against the head's width and copies them. */
export function readBatch(
  name: string,
  argument: string,
  value: TensorLike,
  dim: number,
): Batch {
  const input = readRealTensor(name, argument, value, 2);
  const [rows, width] = input.dims as [number, number];
  if (rows === 0 || width !== dim) {
    throw invalidArgument(
      name,
      `${argument}.dims`,
      `[B, ${dim}] with B >= 1`,
      input.dims,
    );
  }
  return { data: snapshot(input.data), rows };
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
  if (!(value instanceof Int32Array)) {
    throw invalidArgument(name, 'identities', 'an Int32Array', value);
  }
  const copy = snapshot(value);
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
  if (!iterable?.[Symbol.asyncIterator] && !iterable?.[Symbol.iterator]) {
    throw invalidArgument(name, 'batches', 'an iterable of batches', value);
  }
  return value;
}

/** Checks that something may be a labelled batch; its parts are checked by their readers. */
export function checkBatch(name: string, value: LabelledBatch): LabelledBatch {
  if (typeof value !== 'object' || value === null) {
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
  readonly gradEmbeddings: Float32Array;
}

/** Allocates the outputs of a step. */
export function makeOutputs(rows: number, dim: number): HeadOutputs {
  return {
    losses: new Float32Array(rows),
    gradEmbeddings: new Float32Array(rows * dim),
    supportSize: new Int32Array(rows),
    targetActive: new Uint8Array(rows),
  };
}

/** The public form of filled outputs. */
export function makeResult(
  outputs: HeadOutputs,
  dim: number,
  stats: NativeHeadStats,
): HeadResult {
  const { losses, gradEmbeddings, supportSize, targetActive } = outputs;
  const rows = losses.length;
  const total = losses.reduce((sum, loss) => sum + loss, 0);
  return {
    loss: total / rows,
    losses,
    gradEmbeddings: {
      type: 'float32',
      data: gradEmbeddings,
      dims: [rows, dim],
    },
    supportSize,
    targetActive,
    stats,
  };
}
