import { embeddingBatches } from '../data/embedding-batches.js';
import type {
  EmbeddingDataset,
  EmbeddingRows,
} from '../data/embedding-dataset.js';
import { sequential } from '../data/sequential.js';
import { AlphaMarginError } from '../errors.js';
import { readNpy } from '../io/npy-reader.js';
import { placeIn, readIdentities } from './embedding-inputs.js';
import { checkFeatures, checkLabels } from './input-checks.js';

/** Rows of a pass in order, at a time. */
const PASS_BATCH = 1024;

/** Part of a labelled set: which rows belong to it, and whose they are. */
export interface LabelledRows {
  /** Rows of the part; ascending. */
  readonly rows: Int32Array;
  /** Label in the file, for each of `rows`. */
  readonly labels: Int32Array;
}

/** A part with classes 0 … C − 1, as the head counts them; its features stay where they are. */
export interface TrainingData extends LabelledRows {
  /** All rows of the set. */
  readonly source: EmbeddingRows;
  /** Class of each row of the source; −1 for rows of other parts. */
  readonly classes: Int32Array;
  /** Label in the file, for each class; ascending. */
  readonly identities: Int32Array;
}

/** Value of the split file that marks a part. */
export const SPLIT = { train: 0, test: 1 } as const;

/**
 * Reads the labels of embeddings, and with a split file keeps one part.
 *
 * @param note Told of rows that belong to no part. They are no error: a third part, for validation,
 *   is common. But a file of something else should not pass for a split without a word.
 * @throws AlphaMarginError naming the file, and the row in it, that cannot be used.
 */
export async function readLabelledRows(
  dataset: EmbeddingDataset,
  files: { labels: string; split?: string | undefined },
  part: keyof typeof SPLIT,
  note: (message: string) => void,
): Promise<LabelledRows> {
  const { count } = dataset;
  const labels = await readIdentities(files.labels, dataset);
  checkCount(files.labels, labels.length, count);
  let rows = Int32Array.from({ length: count }, (_, row) => row);
  if (files.split !== undefined) {
    const split = await readSplit(files.split);
    checkCount(files.split, split.length, count);
    rows = rows.filter((row) => split[row] === SPLIT[part]);
    if (rows.length === 0) {
      throw unusable(
        files.split,
        `no row has the value ${SPLIT[part]}, which marks the ${part} part`,
      );
    }
    const others = split.filter((value) => value > 1 || value < 0).length;
    if (others > 0) {
      note(
        `${files.split}: ${others} of ${count} rows have a value other than ` +
          `${SPLIT.train} (train) and ${SPLIT.test} (test) and belong to neither`,
      );
    }
  }
  checkLabels(files.labels, labels, rows);
  return { rows, labels: rows.map((row) => labels[row]!) };
}

/**
 * Reads what `train` works on: labels, and once all features that are used, to refuse rows without
 * a direction before any time is spent on training.
 */
export async function readTrainingData(
  dataset: EmbeddingDataset,
  files: {
    embeddings: readonly string[];
    labels: string;
    split: string | undefined;
  },
  note: (message: string) => void,
): Promise<TrainingData> {
  const part = await readLabelledRows(dataset, files, 'train', note);
  const data = withClasses(dataset, part);
  checkIdentities(files, data);
  const placeOf = placeIn(files.embeddings, dataset);
  for await (const { embeddings, rows } of inOrder(data)) {
    checkFeatures(embeddings.data as Float32Array, dataset.dim, rows, placeOf);
  }
  return data;
}

/** The part once, in order. */
export function inOrder({ source, classes, rows }: TrainingData) {
  const plan = sequential({ rows, batch: PASS_BATCH });
  return embeddingBatches(source, classes, plan);
}

/** The part of each row: numbers, or a mask of NumPy that is true for the test rows. */
async function readSplit(file: string): Promise<Int32Array | Uint8Array> {
  const { type, data, dims } = await readNpy(file);
  const isKnown = type === 'int32' || type === 'uint8' || type === 'bool';
  if (isKnown && dims.length === 1) return data;
  throw unusable(
    file,
    `a split is int32, int64, uint8 or bool [N], not ${type} [${dims.join(', ')}]`,
  );
}

/** A loss of one identity is 0 whatever the embeddings: nothing would be trained, and nothing said. */
function checkIdentities(
  { labels, split }: { labels: string; split: string | undefined },
  { rows, identities }: TrainingData,
): void {
  if (identities.length > 1) return;
  const marked = split === undefined ? '' : ` (${SPLIT.train} in ${split})`;
  throw unusable(
    labels,
    `all ${rows.length} rows to train on${marked} are of the identity ${identities[0]}; ` +
      'at least two identities are needed',
  );
}

function checkCount(file: string, received: number, expected: number): void {
  if (received === expected) return;
  throw unusable(
    file,
    `it holds ${received} values, one is needed for each of ${expected} embeddings`,
  );
}

function unusable(file: string, problem: string): AlphaMarginError {
  return new AlphaMarginError('ERR_INVALID_ARGUMENT', `${file}: ${problem}`);
}

/** Numbers the labels that occur 0 … C − 1, in ascending order. */
export function withClasses(
  source: EmbeddingRows,
  { rows, labels }: LabelledRows,
): TrainingData {
  const identities = Int32Array.from(new Set(labels)).sort();
  const classOf = new Map<number, number>();
  for (const [index, label] of identities.entries()) classOf.set(label, index);
  const classes = new Int32Array(source.count).fill(-1);
  for (const [index, row] of rows.entries()) {
    classes[row] = classOf.get(labels[index]!)!;
  }
  return { source, rows, labels, classes, identities };
}

/** Rows [N, dim] in memory. */
export function rowsInMemory(
  features: Float32Array,
  dim: number,
): EmbeddingRows {
  return {
    count: features.length / dim,
    dim,
    async gather(rows, target) {
      for (const [slot, row] of rows.entries()) {
        const source = features.subarray(row * dim, (row + 1) * dim);
        target.set(source, slot * dim);
      }
    },
  };
}
