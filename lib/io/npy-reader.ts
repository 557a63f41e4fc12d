import type { FileHandle } from 'node:fs/promises';
import { AlphaMarginError, invalidArgument } from '../errors.js';
import { filePath } from './file-path.js';
import { readExactly } from './file-reading.js';
import type { NpyHeader } from './npy-header.js';
import { openNpyForReading } from './npy-opening.js';

/** Element types of an {@link NpyArray}, with their arrays; float16 is kept as bits, bool as 0 and 1. */
export interface NpyDataByType {
  float32: Float32Array;
  float16: Uint16Array;
  float64: Float64Array;
  int32: Int32Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

/** An array read from, or to be written to, an npy file; row-major. */
export type NpyArray = {
  [Type in keyof NpyDataByType]: {
    readonly type: Type;
    readonly data: NpyDataByType[Type];
    readonly dims: readonly number[];
  };
}[keyof NpyDataByType];

/** Elements of 64 bits converted at a time. */
const WIDE_CHUNK = 2 ** 20;

/**
 * Reads an npy file (versions 1 to 3): float32, float16 (as bits), float64, int32, uint8, bool, and
 * int64 whose values fit int32; little-endian, C order. The sizes are checked against the file's size
 * before memory is taken.
 *
 * @param path File, as `numpy.save` writes it.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another dtype, order or value range;
 *   `ERR_CHECKPOINT` for a file that is missing, damaged, truncated or not an npy file;
 *   `ERR_OUT_OF_MEMORY` when it does not fit in memory.
 * @example
 * const { type, data, dims } = await readNpy('embeddings.npy');
 */
export async function readNpy(path: string | URL): Promise<NpyArray> {
  return readWith(filePath('readNpy', path), readData);
}

/** {@link readNpy} with float64 rounded to float32 as it is read, as embeddings are used. */
export async function readNarrowNpy(path: string): Promise<NpyArray> {
  return readWith(path, async (handle, path, header, start) => {
    const { description, dims, elements } = header;
    if (description !== '<f8') return readData(handle, path, header, start);
    const data = await readFloat64(handle, path, elements, start);
    return { type: 'float32', data, dims };
  });
}

type Reader = (
  handle: FileHandle,
  path: string,
  header: NpyHeader,
  start: number,
) => Promise<NpyArray>;

async function readWith(path: string, read: Reader): Promise<NpyArray> {
  const { handle, size, header, dataStart } = await openNpyForReading(path);
  try {
    return await read(handle, path, header, dataStart);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AlphaMarginError(
      'ERR_OUT_OF_MEMORY',
      `${path}: its ${size} bytes do not fit in memory`,
      { cause },
    );
  } finally {
    await handle.close();
  }
}

const readData: Reader = async (
  handle,
  path,
  { description, dims, elements },
  start,
) => {
  const fill = async <View extends ArrayBufferView>(view: View) => {
    const bytes = new Uint8Array(view.buffer, 0, view.byteLength);
    await readExactly(handle, path, bytes, start);
    return view;
  };
  switch (description) {
    case '<f4':
      return {
        type: 'float32',
        data: await fill(new Float32Array(elements)),
        dims,
      };
    case '<f2':
      return {
        type: 'float16',
        data: await fill(new Uint16Array(elements)),
        dims,
      };
    case '<f8':
      return {
        type: 'float64',
        data: await fill(new Float64Array(elements)),
        dims,
      };
    case '<i4':
      return {
        type: 'int32',
        data: await fill(new Int32Array(elements)),
        dims,
      };
    case '|u1':
      return {
        type: 'uint8',
        data: await fill(new Uint8Array(elements)),
        dims,
      };
    case '|b1':
      return {
        type: 'bool',
        data: await fill(new Uint8Array(elements)),
        dims,
      };
    case '<i8': {
      const data = await readInt64(handle, path, elements, start);
      return { type: 'int32', data, dims };
    }
  }
};

/** The pieces of elements of 64 bits, and the place of the first of each; `wide` is used again. */
async function* readPieces<Wide extends BigInt64Array | Float64Array>(
  handle: FileHandle,
  path: string,
  wide: Wide,
  elements: number,
  start: number,
): AsyncGenerator<{ part: Wide; first: number }> {
  for (let first = 0; first < elements; first += wide.length) {
    const count = Math.min(wide.length, elements - first);
    const part = wide.subarray(0, count) as Wide;
    const bytes = new Uint8Array(part.buffer, 0, part.byteLength);
    await readExactly(handle, path, bytes, start + first * 8);
    yield { part, first };
  }
}

/** Reads 64-bit integers into 32 bits, refusing what does not fit. */
async function readInt64(
  handle: FileHandle,
  path: string,
  elements: number,
  start: number,
): Promise<Int32Array> {
  const narrow = new Int32Array(elements);
  const wide = new BigInt64Array(Math.min(elements, WIDE_CHUNK));
  const pieces = readPieces(handle, path, wide, elements, start);
  for await (const { part, first } of pieces) {
    for (let index = 0; index < part.length; index += 1) {
      const value = part[index]!;
      if (BigInt.asIntN(32, value) !== value) {
        throw invalidArgument(
          'readNpy',
          `element ${first + index} of ${path}`,
          'an int64 that fits int32',
          value,
        );
      }
      narrow[first + index] = Number(value);
    }
  }
  return narrow;
}

/** Reads float64 rounded to float32; values beyond float32 become infinities. */
async function readFloat64(
  handle: FileHandle,
  path: string,
  elements: number,
  start: number,
): Promise<Float32Array> {
  const narrow = new Float32Array(elements);
  const wide = new Float64Array(Math.min(elements, WIDE_CHUNK));
  const pieces = readPieces(handle, path, wide, elements, start);
  for await (const { part, first } of pieces) narrow.set(part, first);
  return narrow;
}
