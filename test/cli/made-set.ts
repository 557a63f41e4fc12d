import { syntheticIdentities } from '../../lib/cli/synthetic-identities.js';
import type { NpyArray } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';

/** Files of a small labelled set whose first identities are for training. */
export interface MadeSet {
  readonly embeddings: string;
  readonly labels: string;
  readonly split: string;
}

/** Writes 30 identities × 6 samples of 16 features; 20 identities are for training. */
export async function writeMadeSet(
  file: (name: string) => string,
): Promise<MadeSet> {
  const { features, source, labels } = syntheticIdentities(
    { identities: 30, samplesPerIdentity: 6, dim: 16, seed: 1 },
    100,
  );
  const files = {
    embeddings: file('x.npy'),
    labels: file('y.npy'),
    split: file('split.npy'),
  };
  const dims = [labels.length];
  const split = Uint8Array.from(labels, (label) => (label < 120 ? 0 : 1));
  await writeNpy(files.embeddings, {
    type: 'float32',
    data: features,
    dims: [labels.length, source.dim],
  } as NpyArray);
  await writeNpy(files.labels, { type: 'int32', data: labels, dims });
  await writeNpy(files.split, { type: 'uint8', data: split, dims });
  return files;
}

/** Options that name the files of a set. */
export function setOptions({ embeddings, labels, split }: MadeSet): string[] {
  return ['--embeddings', embeddings, '--labels', labels, '--split', split];
}
