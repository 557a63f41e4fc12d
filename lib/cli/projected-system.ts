import path from 'node:path';
import { AlphaMarginError } from '../errors.js';
import { damagedFile } from '../io/file-errors.js';
import {
  openSafetensors,
  type SafetensorsFile,
} from '../io/safetensors-reader.js';
import type { Tensor } from '../tensor.js';
import type { TrainingEpoch } from '../verification/training-history.js';
import { readProjection } from './checkpoint-projection.js';
import { findUnusable } from './input-checks.js';
import type { Projection } from './projection.js';
import { readHistory } from './saved-results.js';

/** Name of the baseline when heads are compared. */
export const BASELINE = 'embeddings';

/** Embeddings after the projection of a checkpoint, and how that was trained. */
export interface ProjectedEmbeddings {
  readonly embeddings: Tensor;
  readonly training: readonly TrainingEpoch[];
}

/**
 * The embeddings after the projection of a checkpoint.
 *
 * @param inFile Row in the file, for each row.
 * @param what The embeddings, in messages.
 */
export async function projectEmbeddings(
  file: string,
  embeddings: Tensor,
  inFile: Int32Array,
  what = 'embeddings',
): Promise<ProjectedEmbeddings> {
  const checkpoint = await openSafetensors(file);
  try {
    const [rows, dim] = embeddings.dims as [number, number];
    const projection = await projectionFor(checkpoint, dim);
    const { data: given } = embeddings;
    const data = await projectRows(file, projection, given, inFile, what);
    const dims = [rows, projection.outputs];
    return {
      embeddings: { type: 'float32', data, dims },
      training: historyOf(checkpoint),
    };
  } finally {
    await checkpoint.close();
  }
}

/** The projection of a checkpoint, for embeddings of a dimension. */
export async function projectionFor(
  checkpoint: SafetensorsFile,
  dim: number,
): Promise<Projection> {
  const { path: file } = checkpoint;
  const projection = await readProjection(checkpoint);
  if (projection === null) {
    throw damagedFile(
      file,
      'holds no projection (train with --project), so it does not change the embeddings',
    );
  }
  if (dim !== projection.inputs) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${file}: its projection takes embeddings of dimension ${projection.inputs}, ` +
        `these have ${dim}`,
    );
  }
  return projection;
}

/**
 * Rows after a projection; those without a direction are refused.
 *
 * @param file The checkpoint, for messages, as `what` the rows are.
 * @param inFile Row in the file, for each row.
 */
export async function projectRows(
  file: string,
  projection: Projection,
  features: Float32Array,
  inFile: Int32Array,
  what = 'embeddings',
): Promise<Float32Array> {
  const data = await projection.applyAll(features, inFile.length);
  const found = findUnusable(data, projection.outputs);
  if (found === undefined) return data;
  throw damagedFile(
    file,
    `its projection gives row ${inFile[found.row]} of the ${what} no direction ` +
      `(norm ${found.norm})`,
  );
}

/** The history that `train` left; empty in a checkpoint of other origin. */
function historyOf({ path, metadata }: SafetensorsFile): TrainingEpoch[] {
  const text = metadata['train.history'];
  if (text === undefined) return [];
  try {
    return readHistory(path, 'train.history', JSON.parse(text));
  } catch {
    throw damagedFile(path, 'its train.history is damaged');
  }
}

/** The file's name, or its path where two files share a name, or both with a number. */
export function systemName(heads: readonly string[], index: number): string {
  const short = heads.map((head) => path.basename(head, '.safetensors'));
  const candidates = [short, heads];
  for (const names of candidates) {
    const name = names[index]!;
    const used = names.filter((other) => other === name).length;
    if (used === 1 && name !== BASELINE && name.trim() !== '') return name;
  }
  return `${index + 1}: ${heads[index]}`;
}
