import type { EmbeddingDataset } from '../data/embedding-dataset.js';
import { AlphaMarginError } from '../errors.js';
import { readUtt2spk, speakerLabels } from '../io/kaldi-speakers.js';
import { labelsFromNpy } from '../io/npy-inputs.js';

/** Copies rows to memory, float32 [rows.length, D]. */
export async function readRows(
  dataset: EmbeddingDataset,
  rows: Int32Array,
): Promise<Float32Array> {
  const length = rows.length * dataset.dim;
  let data: Float32Array;
  try {
    data = new Float32Array(length);
  } catch (cause) {
    throw new AlphaMarginError(
      'ERR_OUT_OF_MEMORY',
      `${rows.length} rows of ${dataset.dim} embeddings do not fit in memory`,
      { cause },
    );
  }
  await dataset.gather(rows, data);
  return data;
}

/**
 * Reads the identity of each row: an npy file of labels, or for embeddings with names an `utt2spk`
 * map, whose speakers are numbered by name.
 */
export async function readIdentities(
  path: string,
  { names }: EmbeddingDataset,
): Promise<Int32Array> {
  if (path.endsWith('.npy')) return labelsFromNpy(path);
  if (names === undefined) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${path}: not an npy file by its name; labels are int32, int64 or uint8 [N] as ` +
        'numpy.save writes them (an utt2spk map goes with Kaldi files only)',
    );
  }
  return speakerLabels(names, await readUtt2spk(path)).labels;
}

/** Says where a row lies, for messages: the file of it and its number there. */
export function placeIn(
  paths: readonly string[],
  dataset: EmbeddingDataset,
): (row: number) => string {
  return (row) => {
    const { part, row: inFile } = dataset.placeOf(row);
    return `${paths[part]}: row ${inFile} (counted from 0)`;
  };
}
