import { openEmbeddings } from '../data/open-embeddings.js';
import { AlphaMarginError } from '../errors.js';
import { readUtt2spk, speakerLabels } from '../io/kaldi-speakers.js';
import { embeddingsFromNpy, labelsFromNpy } from '../io/npy-inputs.js';

/** Embeddings that a command works on, in memory. */
export interface EmbeddingInput {
  /** [count, dim]; float16 as bits. */
  readonly data: Float32Array | Uint16Array;
  readonly count: number;
  readonly dim: number;
  /** [count], the utterances of a Kaldi file. */
  readonly names: readonly string[] | undefined;
}

/** Reads the embeddings of a file: safetensors or Kaldi by its name, else npy. */
export async function readEmbeddings(path: string): Promise<EmbeddingInput> {
  if (!/\.(safetensors|scp|ark)$/.test(path)) {
    const { data, dims } = await embeddingsFromNpy(path);
    const [count, dim] = dims as [number, number];
    return { data, count, dim, names: undefined };
  }
  await using dataset = await openEmbeddings(path);
  const { count, dim, names } = dataset;
  const data = allocate(path, count * dim);
  await dataset.readRows(0, data);
  return { data, count, dim, names };
}

function allocate(path: string, length: number): Float32Array {
  try {
    return new Float32Array(length);
  } catch (cause) {
    throw new AlphaMarginError(
      'ERR_OUT_OF_MEMORY',
      `${path}: its ${length} numbers do not fit in memory`,
      { cause },
    );
  }
}

/**
 * Reads the identity of each row: an npy file of labels, or for embeddings with names an `utt2spk`
 * map, whose speakers are numbered by name.
 */
export async function readIdentities(
  path: string,
  { names }: EmbeddingInput,
): Promise<Int32Array> {
  if (names === undefined || path.endsWith('.npy')) return labelsFromNpy(path);
  return speakerLabels(names, await readUtt2spk(path)).labels;
}
