import { invalidArgument } from '../errors.js';
import { writeAll, writeFileAtomically } from './atomic-file.js';
import { encodeNpyHeader, type NpyDescription } from './npy-header.js';
import type { NpyArray } from './npy-reader.js';

/** How NumPy names the types that can be written. */
const DESCRIPTIONS: Record<NpyArray['type'], NpyDescription> = {
  float32: '<f4',
  float16: '<f2',
  int32: '<i4',
  uint8: '|u1',
};

/**
 * Writes an array as an npy file (version 1), complete or not at all.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file cannot be written, with the reason;
 *   `ERR_INVALID_ARGUMENT` when sizes and length disagree or the type has no npy form.
 * @example
 * await writeNpy('cosines.npy', tensor(new Float32Array(6), [2, 3]));
 */
export async function writeNpy(path: string, array: NpyArray): Promise<void> {
  const { type, data, dims } = array;
  if (!Object.hasOwn(DESCRIPTIONS, type)) {
    const expected = `one of ${Object.keys(DESCRIPTIONS).join(', ')}`;
    throw invalidArgument('writeNpy', 'type', expected, type);
  }
  const elements = dims.reduce((product, size) => product * size, 1);
  if (elements !== data.length) {
    throw invalidArgument(
      'writeNpy',
      `dims [${dims.join(', ')}]`,
      `sizes of ${data.length} elements (the length of data)`,
      elements,
    );
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  await writeFileAtomically(path, async (handle) => {
    await writeAll(handle, encodeNpyHeader(DESCRIPTIONS[type], dims));
    await writeAll(handle, bytes);
  });
}
