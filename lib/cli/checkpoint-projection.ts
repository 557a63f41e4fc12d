import { damagedFile } from '../io/file-errors.js';
import type { SafetensorsFile } from '../io/safetensors-reader.js';
import { Projection } from './projection.js';

/**
 * The projection a checkpoint holds, or null when its head was trained on the features as they
 * are.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when its tensors do not fit together.
 */
export async function readProjection(
  file: SafetensorsFile,
): Promise<Projection | null> {
  if (!file.tensors.has('projection.weight')) return null;
  const { shape } = file.tensor('projection.weight');
  const arrays = await Promise.all(
    (['projection.weight', 'projection.momentum'] as const).map((name) =>
      readMatrix(file, name, shape),
    ),
  );
  const [weight, momentum] = arrays as [Float32Array, Float32Array];
  const [outputs, inputs] = shape as [number, number];
  return new Projection(inputs, outputs, weight, momentum);
}

async function readMatrix(
  file: SafetensorsFile,
  name: string,
  expected: readonly number[],
): Promise<Float32Array> {
  const { dtype, shape, byteLength } = file.tensor(name);
  if (
    dtype !== 'F32' ||
    shape.length !== 2 ||
    byteLength === 0 ||
    shape.some((size, index) => size !== expected[index])
  ) {
    throw damagedFile(
      file.path,
      `tensor '${name}' is not an F32 matrix [outputs, inputs] but ${dtype} ` +
        `[${shape.join(', ')}]`,
    );
  }
  const matrix = new Float32Array(byteLength / 4);
  await file.readRows(name, 0, matrix);
  return matrix;
}
