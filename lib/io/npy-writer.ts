import { invalidArgument } from '../errors.js';
import { readDims } from '../tensor.js';
import { type ArrayKind, readArray } from '../typed-arrays.js';
import { writeAll, writeFileAtomically } from './atomic-file.js';
import { filePath } from './file-path.js';
import { encodeNpyHeader, type NpyDescription } from './npy-header.js';
import type { NpyArray } from './npy-reader.js';

const ARRAYS = {
  float32: 'Float32Array',
  float16: 'Uint16Array',
  float64: 'Float64Array',
  int32: 'Int32Array',
  uint8: 'Uint8Array',
  bool: 'Uint8Array',
} as const satisfies Record<NpyArray['type'], ArrayKind>;

/** How NumPy names the types that can be written. */
const DESCRIPTIONS: Record<NpyArray['type'], NpyDescription> = {
  float32: '<f4',
  float16: '<f2',
  float64: '<f8',
  int32: '<i4',
  uint8: '|u1',
  bool: '|b1',
};

/**
 * Writes an array as an npy file (version 1), complete or not at all.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file cannot be written, with the reason;
 *   `ERR_INVALID_ARGUMENT` when sizes and length disagree or the type has no npy form.
 * @example
 * await writeNpy('cosines.npy', tensor(new Float32Array(6), [2, 3]));
 */
export async function writeNpy(
  path: string | URL,
  array: NpyArray,
): Promise<void> {
  const target = filePath('writeNpy', path);
  const given: Partial<NpyArray> = array ?? {};
  const { type } = given;
  if (typeof type !== 'string' || !Object.hasOwn(DESCRIPTIONS, type)) {
    const expected = `one of ${Object.keys(DESCRIPTIONS).join(', ')}`;
    throw invalidArgument('writeNpy', 'type', expected, type);
  }
  // A copy: the caller's may change or be transferred while the file is written.
  const data = readArray(given.data, ARRAYS[type])?.slice();
  if (data === undefined) {
    const expected = `a ${ARRAYS[type]} for ${type}`;
    throw invalidArgument('writeNpy', 'data', expected, given.data);
  }
  const dims = readDims('writeNpy', 'dims', given.dims, data.length);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  await writeFileAtomically(target, async (handle) => {
    await writeAll(handle, encodeNpyHeader(DESCRIPTIONS[type], dims));
    await writeAll(handle, bytes);
  });
}
