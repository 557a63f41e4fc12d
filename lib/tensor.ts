import { AlphaMarginError, describe, invalidArgument } from './errors.js';
import { isFloat16Array, readArray, readBytes } from './typed-arrays.js';

/** Element types a {@link Tensor} of this package may carry, with their arrays. */
export interface TensorDataByType {
  float32: Float32Array;
  /** IEEE 754 binary16, as bits. */
  float16: Uint16Array;
  int32: Int32Array;
}

/** Name of an element type. */
export type TensorType = keyof TensorDataByType;

/**
 * A dense row-major array: the plain-object form that onnxruntime and
 * transformers.js use too.
 */
export interface Tensor<
  Type extends TensorType = 'float32',
  Dims extends readonly number[] = readonly number[],
> {
  readonly type: Type;
  readonly data: TensorDataByType[Type];
  /** Sizes, outermost first: `[B, C]`, `[B, D]` or `[B]`. */
  readonly dims: Dims;
}

/** A {@link Tensor} of two sizes, `[B, D]`. */
export type Matrix<Type extends TensorType = 'float32'> = Tensor<
  Type,
  readonly [number, number]
>;

/** A {@link Tensor} of one size, `[B]`. */
export type Vector<Type extends TensorType = 'float32'> = Tensor<
  Type,
  readonly [number]
>;

/**
 * What functions accept in place of a {@link Tensor}: any object with `data` and
 * `dims` (or `shape`), such as the tensors of onnxruntime and transformers.js. `type` may be left
 * out for Float32Array and Float16Array data.
 */
export interface TensorLike {
  readonly type?: string;
  readonly data: unknown;
  readonly dims?: readonly number[];
  readonly shape?: readonly number[];
}

/** Sparse rows in compressed form: row `i` owns entries `rowOffsets[i] … rowOffsets[i+1] − 1`. */
export interface CsrMatrix {
  /** Int32Array [B + 1]. */
  readonly rowOffsets: Int32Array;
  /** Class of each entry, ascending within a row. */
  readonly columns: Int32Array;
  /** Value of each entry. */
  readonly values: Float32Array;
  /** `[B, C]`. */
  readonly dims: readonly [number, number];
}

/** A checked real-valued input: what the addon is handed. */
export interface RealInput {
  readonly data: Float32Array | Uint16Array;
  readonly dims: readonly number[];
}

/**
 * Makes a {@link Tensor} from an array and its sizes.
 *
 * @param data Row-major elements.
 * @param dims Sizes; their product is the length of `data`.
 * @returns A tensor that shares `data`.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when sizes and length disagree.
 * @example
 * const logits = tensor(new Float32Array(6), [2, 3]);
 */
export function tensor<const Dims extends readonly number[]>(
  data: Float32Array,
  dims: Dims,
): Tensor<'float32', SizesOf<Dims>> {
  const own = readArray(data, 'Float32Array');
  if (own === undefined) {
    throw invalidArgument('tensor', 'data', 'a Float32Array', data);
  }
  const sizes = readDims('tensor', 'dims', dims, own.length);
  return { type: 'float32', data, dims: sizes as SizesOf<Dims> };
}

/** As many sizes, of any value. */
export type SizesOf<Dims extends readonly number[]> = {
  readonly [Place in keyof Dims]: number;
};

/** Most sizes a tensor may have. */
const LARGEST_RANK = 64;

/** A checked copy of sizes, each read once: whole, not negative, with the product `length`. */
export function readDims(
  functionName: string,
  argument: string,
  value: unknown,
  length: number,
): number[] {
  const rank: unknown = Array.isArray(value) ? value.length : undefined;
  const isRank = typeof rank === 'number' && rank >= 0 && rank <= LARGEST_RANK;
  const dims = Array.from(
    { length: isRank ? rank : 0 },
    (_, index) => (value as number[])[index]!,
  );
  if (
    !isRank ||
    !dims.every((size) => Number.isSafeInteger(size) && size >= 0)
  ) {
    throw invalidArgument(
      functionName,
      argument,
      'an array of whole numbers >= 0',
      isRank ? dims : value,
    );
  }
  const elements = dims.reduce((product, size) => product * size, 1);
  if (elements !== length) {
    throw invalidArgument(
      functionName,
      `${argument} [${dims.join(', ')}]`,
      `sizes of ${length} elements (the length of data)`,
      elements,
    );
  }
  return dims;
}

/**
 * Reads a real-valued tensor argument (float32, or float16 as bits) of a given rank.
 * Properties are read once, so an object that changes its answers gains nothing.
 */
export function readRealTensor(
  functionName: string,
  argument: string,
  value: unknown,
  rank: number,
): RealInput {
  const input = readTensor(functionName, argument, value);
  checkRank(functionName, argument, input.dims, rank);
  return input;
}

/** Checks the number of sizes of a tensor. */
export function checkRank(
  functionName: string,
  argument: string,
  dims: readonly number[],
  rank: number,
): void {
  if (dims.length === rank) return;
  throw invalidArgument(
    functionName,
    `${argument}.dims`,
    `${rank} sizes`,
    dims,
  );
}

/** {@link readRealTensor} of any rank. */
export function readTensor(
  functionName: string,
  argument: string,
  value: unknown,
): RealInput {
  const isData = ArrayBuffer.isView(value) || Array.isArray(value);
  if (typeof value !== 'object' || value === null || isData) {
    const remedy = isData ? ' (tensor(data, dims) makes one)' : '';
    throw invalidArgument(functionName, argument, `a tensor${remedy}`, value);
  }
  const { type, data, dims, shape } = withBits(
    readFields(functionName, argument, value),
  );
  const own = readArray(data, 'Float32Array', 'Uint16Array');
  const isFloat32 = own instanceof Float32Array;
  if (own === undefined || (!isFloat32 && type !== 'float16')) {
    throw invalidArgument(
      functionName,
      `${argument}.data`,
      "a Float32Array or Float16Array (or a Uint16Array with type 'float16')",
      data,
    );
  }
  if (isFloat32 && type !== undefined && type !== 'float32') {
    throw invalidArgument(
      functionName,
      `${argument}.type`,
      "'float32' for Float32Array data",
      type,
    );
  }
  const sizes = dims ?? shape;
  return {
    data: own,
    dims: readDims(functionName, `${argument}.dims`, sizes, own.length),
  };
}

/**
 * The fields of a tensor-like value, each read once. Reading may fail: a tensor of onnxruntime has
 * no `data` while it lies on a GPU, or after `dispose()`.
 */
function readFields(
  functionName: string,
  argument: string,
  value: object,
): Partial<TensorLike> {
  try {
    const { type, data, dims, shape } = value as TensorLike;
    return { type, data, dims, shape } as Partial<TensorLike>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : describe(cause);
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${functionName}: expected ${argument} to be a tensor that can be read: ${reason}`,
      { cause },
    );
  }
}

/**
 * The bits in place of a Float16Array: that is what onnxruntime makes where there is one (Node 24
 * and newer), and Uint16Array elsewhere.
 */
function withBits(fields: Partial<TensorLike>): Partial<TensorLike> {
  const { data, type = 'float16' } = fields;
  if (!isFloat16Array(data)) return fields;
  const { buffer, byteOffset, byteLength } = readBytes(data)!;
  const bits = new Uint16Array(buffer, byteOffset, byteLength / 2);
  return { ...fields, type, data: bits };
}

/** Label of a row that takes no part. */
export const IGNORED_LABEL = -1;

/**
 * Labels: one whole number for each row, as int32, int64 or plain numbers, or a tensor of them. A
 * row labelled −1 is ignored: it is not read, its loss and gradient are 0, and means are taken over
 * the other rows.
 */
export type LabelsLike =
  | Int32Array
  | BigInt64Array
  | readonly number[]
  | TensorLike;

/** The data of a tensor; an array, and what is neither, as it is. */
function dataOf(functionName: string, argument: string, value: unknown) {
  const isTensor =
    typeof value === 'object' &&
    value !== null &&
    !ArrayBuffer.isView(value) &&
    !Array.isArray(value);
  return isTensor ? readFields(functionName, argument, value).data : value;
}

/** Reads labels, as a copy of type int32. */
export function readLabels(
  functionName: string,
  value: unknown,
  rows: number,
): Int32Array {
  const given = dataOf(functionName, 'labels', value);
  const data =
    readArray(given, 'Int32Array', 'BigInt64Array') ??
    (Array.isArray(given) ? (given as unknown[]) : undefined);
  if (data === undefined) {
    throw invalidArgument(
      functionName,
      'labels',
      'an Int32Array, a BigInt64Array or an array of numbers',
      given ?? value,
    );
  }
  if (data.length !== rows) {
    throw invalidArgument(
      functionName,
      'labels',
      `one label for each of ${rows} rows`,
      data,
    );
  }
  if (data instanceof Int32Array) return snapshot(data);
  return Int32Array.from({ length: rows }, (_, row) => {
    const label: unknown = data[row];
    const number = typeof label === 'bigint' ? Number(label) : label;
    // A label beyond int32 would wrap around to another class.
    if (typeof number !== 'number' || number !== (number | 0)) {
      throw invalidArgument(
        functionName,
        `labels[${row}]`,
        'a whole number that fits 32 bits',
        label,
      );
    }
    return number;
  });
}

/** How many rows are not ignored. */
export function countedRows(labels: Int32Array): number {
  return labels.reduce(
    (count, label) => count + (label === IGNORED_LABEL ? 0 : 1),
    0,
  );
}

/** One number for each row or class: float32, or numbers that are rounded to it. */
export type FloatsLike = Float32Array | readonly number[] | TensorLike;

/** Reads one number for each row or class, as a copy. What numbers they may be is left to check. */
export function readFloats(
  functionName: string,
  argument: string,
  value: unknown,
  count: number,
  what: string,
): Float32Array {
  const given = dataOf(functionName, argument, value);
  const data =
    readArray(given, 'Float32Array') ??
    (Array.isArray(given) ? (given as unknown[]) : undefined);
  if (data === undefined || data.length !== count) {
    throw invalidArgument(
      functionName,
      argument,
      `a Float32Array, a float32 tensor or an array of ${count} ${what}`,
      given ?? value,
    );
  }
  if (data instanceof Float32Array) return snapshot(data);
  return Float32Array.from({ length: count }, (_, index) => {
    const number: unknown = data[index];
    if (typeof number !== 'number') {
      throw invalidArgument(
        functionName,
        `${argument}[${index}]`,
        'a number',
        number,
      );
    }
    return number;
  });
}

/** Reads the reference measure, as a copy: positive, one value per class, not normalised. */
export function readReference(
  functionName: string,
  value: unknown,
  classes: number,
): Float32Array | null {
  if (value === undefined || value === null) return null;
  const copy = readFloats(
    functionName,
    'reference',
    value,
    classes,
    'positive numbers, one for each class',
  );
  for (let index = 0; index < classes; index += 1) {
    const measure = copy[index]!;
    if (!(measure > 0 && measure < Number.POSITIVE_INFINITY)) {
      throw invalidArgument(
        functionName,
        `reference[${index}]`,
        'positive and finite',
        measure,
      );
    }
  }
  return copy;
}

/** Bytes that memory which is not zeroed first pays for, and that a Buffer may have. */
const UNFILLED = { least: 2 ** 14, most: 2 ** 30 };

/** Like `slice`, which has the system zero new pages before it copies: several times as long. */
function copyOf(data: Float32Array | Uint16Array | Int32Array) {
  const { length, byteLength } = data;
  const isSuitable =
    byteLength >= UNFILLED.least && byteLength <= UNFILLED.most;
  const room = isSuitable
    ? globalThis.Buffer?.allocUnsafeSlow(byteLength).buffer
    : undefined;
  if (room === undefined) return data.slice();
  // Not its own constructor: who passes an array may have given it another.
  const copy =
    data instanceof Float32Array
      ? new Float32Array(room, 0, length)
      : data instanceof Int32Array
        ? new Int32Array(room, 0, length)
        : new Uint16Array(room, 0, length);
  copy.set(data);
  return copy;
}

/**
 * A copy of an input that a worker will read. The caller may change, transfer or detach the
 * original while the call is running; the copy belongs to nobody else.
 */
export function snapshot<Data extends Float32Array | Uint16Array | Int32Array>(
  data: Data,
): Data {
  try {
    return copyOf(data) as Data;
  } catch (cause) {
    // A getter of another argument has transferred or shrunk it.
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      'expected arrays to keep their memory until the call has copied them',
      { cause },
    );
  }
}
