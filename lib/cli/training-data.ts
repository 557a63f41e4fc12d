import { embeddingBatches } from '../data/embedding-batches.js';
import type {
  EmbeddingDataset,
  EmbeddingRows,
} from '../data/embedding-dataset.js';
import { sequential } from '../data/sequential.js';
import { AlphaMarginError } from '../errors.js';
import { labelsFromNpy } from '../io/npy-inputs.js';
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
 * @throws AlphaMarginError naming the file, and the row in it, that cannot be used.
 */
export async function readLabelledRows(
  dataset: EmbeddingDataset,
  files: { labels: string; split?: string | undefined },
  part: keyof typeof SPLIT,
): Promise<LabelledRows> {
  const { count } = dataset;
  const labels = await readIdentities(files.labels, dataset);
  checkCount(files.labels, labels.length, count);
  let rows = Int32Array.from({ length: count }, (_, row) => row);
  if (files.split !== undefined) {
    const split = await labelsFromNpy(files.split);
    checkCount(files.split, split.length, count);
    rows = rows.filter((row) => split[row] === SPLIT[part]);
    if (rows.length === 0) {
      throw unusable(
        files.split,
        `no row has the value ${SPLIT[part]}, which marks the ${part} part`,
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
): Promise<TrainingData> {
  const part = await readLabelledRows(dataset, files, 'train');
  const data = withClasses(dataset, part);
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
