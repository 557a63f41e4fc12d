import { invalidArgument } from '../errors.js';
import type { Matrix } from '../tensor.js';
import { filePath } from './file-path.js';
import { readNarrowNpy, readNpy } from './npy-reader.js';

/**
 * Reads embeddings [N, D] from an npy file of float32, float16 (kept as bits) or float64 (rounded to
 * float32; values beyond its range become infinities, which every use of them refuses).
 *
 * @param path File, as `numpy.save` writes it.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another type or number of sizes;
 *   `ERR_CHECKPOINT` for a file that is missing, damaged or truncated.
 * @example
 * const embeddings = await embeddingsFromNpy('embeddings.npy');
 * const [count, dim] = embeddings.dims;
 */
export async function embeddingsFromNpy(
  path: string | URL,
): Promise<Matrix | Matrix<'float16'>> {
  const source = filePath('embeddingsFromNpy', path);
  const array = await readNarrowNpy(source);
  const { type, dims } = array;
  if (type !== 'float32' && type !== 'float16') {
    throw invalidArgument(
      'embeddingsFromNpy',
      `the dtype of ${source}`,
      "float32, float16 or float64 (NumPy: .astype('float32'))",
      type,
    );
  }
  if (dims.length !== 2) {
    throw invalidArgument(
      'embeddingsFromNpy',
      `the sizes of ${source}`,
      '[N, D]',
      [...dims],
    );
  }
  return array as Matrix | Matrix<'float16'>;
}

/**
 * Reads labels [N] from an npy file of int32, uint8, or int64 whose values fit int32.
 *
 * @param path File, as `numpy.save` writes it.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another type, number of sizes or a value
 *   out of range; `ERR_CHECKPOINT` for a file that is missing, damaged or truncated.
 * @example
 * const labels = await labelsFromNpy('identities.npy');
 */
export async function labelsFromNpy(path: string | URL): Promise<Int32Array> {
  const source = filePath('labelsFromNpy', path);
  const { type, data, dims } = await readNpy(source);
  if (type !== 'int32' && type !== 'uint8') {
    throw invalidArgument(
      'labelsFromNpy',
      `the dtype of ${source}`,
      "int32, int64 or uint8 (NumPy: .astype('int64'))",
      type,
    );
  }
  if (dims.length !== 1) {
    throw invalidArgument('labelsFromNpy', `the sizes of ${source}`, '[N]', [
      ...dims,
    ]);
  }
  return type === 'int32' ? data : Int32Array.from(data);
}
