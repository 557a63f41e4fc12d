import type { FileHandle } from 'node:fs/promises';
import { AlphaMarginError, invalidArgument } from '../errors.js';
import { checkPath } from './file-path.js';
import { readExactly } from './file-reading.js';
import type { NpyHeader } from './npy-header.js';
import { openNpyForReading } from './npy-opening.js';

/** Element types of an {@link NpyArray}, with their arrays; float16 is kept as bits. */
export interface NpyDataByType {
  float32: Float32Array;
  float16: Uint16Array;
  int32: Int32Array;
  uint8: Uint8Array;
}

/** An array read from, or to be written to, an npy file; row-major. */
export type NpyArray = {
  [Type in keyof NpyDataByType]: {
    readonly type: Type;
    readonly data: NpyDataByType[Type];
    readonly dims: readonly number[];
  };
}[keyof NpyDataByType];

/** Values of an int64 file converted at a time. */
const INT64_CHUNK = 2 ** 20;

/**
 * Reads an npy file (versions 1 to 3): float32, float16 (as bits), int32, uint8, and int64 whose
 * values fit int32; little-endian, C order. The sizes are checked against the file's size
 * before memory is taken.
 *
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another dtype, order or value range;
 *   `ERR_CHECKPOINT` for a file that is missing, damaged, truncated or not an npy file;
 *   `ERR_OUT_OF_MEMORY` when it does not fit in memory.
 * @example
 * const { type, data, dims } = await readNpy('embeddings.npy');
 */
export async function readNpy(path: string): Promise<NpyArray> {
  checkPath('readNpy', path);
  const { handle, size, header, dataStart } = await openNpyForReading(path);
  try {
    return await readData(handle, path, header, dataStart);
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

async function readData(
  handle: FileHandle,
  path: string,
  { description, dims, elements }: NpyHeader,
  start: number,
): Promise<NpyArray> {
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
    case '<i8': {
      const data = await readInt64(handle, path, elements, start);
      return { type: 'int32', data, dims };
    }
  }
}

/** Reads 64-bit integers into 32 bits, piece by piece, refusing what does not fit. */
async function readInt64(
  handle: FileHandle,
  path: string,
  elements: number,
  start: number,
): Promise<Int32Array> {
  const narrow = new Int32Array(elements);
  const wide = new BigInt64Array(Math.min(elements, INT64_CHUNK));
  for (let first = 0; first < elements; first += wide.length) {
    const part = wide.subarray(0, Math.min(wide.length, elements - first));
    const bytes = new Uint8Array(part.buffer, 0, part.byteLength);
    await readExactly(handle, path, bytes, start + first * 8);
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
