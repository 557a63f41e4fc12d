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
    const projection = await readProjection(checkpoint);
    if (projection === null) {
      throw damagedFile(
        file,
        'holds no projection (train with --project), so it does not change the embeddings',
      );
    }
    const [rows, dim] = embeddings.dims as [number, number];
    if (dim !== projection.inputs) {
      throw new AlphaMarginError(
        'ERR_INVALID_ARGUMENT',
        `${file}: its projection takes embeddings of dimension ${projection.inputs}, ` +
          `these have ${dim}`,
      );
    }
    const data = await projection.applyAll(embeddings.data, rows);
    const found = findUnusable(data, projection.outputs);
    if (found !== undefined) {
      throw damagedFile(
        file,
        `its projection gives row ${inFile[found.row]} of the ${what} no direction ` +
          `(norm ${found.norm})`,
      );
    }
    const dims = [rows, projection.outputs];
    return {
      embeddings: { type: 'float32', data, dims },
      training: historyOf(checkpoint),
    };
  } finally {
    await checkpoint.close();
  }
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
