import { AlphaMarginError } from '../errors.js';
import { float16Values } from '../io/float16.js';
import { labelsFromNpy } from '../io/npy-inputs.js';
import { readEmbeddings, readIdentities } from './embedding-inputs.js';
import { checkFeatures, checkLabels } from './input-checks.js';

/** Part of a labelled set: which rows of the features belong to it, and whose they are. */
export interface LabelledRows {
  /** All features [N, dim] of the file; float16 as bits. */
  readonly features: Float32Array | Uint16Array;
  readonly dim: number;
  /** Rows of `features` in this part. */
  readonly rows: Int32Array;
  /** Label in the file, for each of `rows`. */
  readonly labels: Int32Array;
}

/** A part with classes 0 … C − 1, as the head counts them. */
export interface TrainingData extends LabelledRows {
  /** Class of each of `rows`. */
  readonly classes: Int32Array;
  /** Label in the file, for each class; ascending. */
  readonly identities: Int32Array;
}

/** Value of the split file that marks a part. */
export const SPLIT = { train: 0, test: 1 } as const;

/**
 * Reads features and labels, and with a split file keeps one part, whose rows are checked.
 *
 * @throws AlphaMarginError naming the file, and the row in it, that cannot be used.
 */
export async function readLabelledRows(
  files: { embeddings: string; labels: string; split?: string | undefined },
  part: keyof typeof SPLIT,
): Promise<LabelledRows> {
  const input = await readEmbeddings(files.embeddings);
  const { data, count, dim } = input;
  const labels = await readIdentities(files.labels, input);
  checkCount(files.labels, labels.length, count);
  let rows = Int32Array.from({ length: count }, (_, row) => row);
  if (files.split !== undefined) {
    const split = await labelsFromNpy(files.split);
    checkCount(files.split, split.length, count);
    rows = rows.filter((row) => split[row] === SPLIT[part]);
  }
  if (count === 0 || dim === 0) {
    throw unusable(
      files.embeddings,
      `there is nothing in it: its sizes are [${count}, ${dim}]`,
    );
  }
  if (rows.length === 0) {
    throw unusable(
      files.split ?? files.embeddings,
      `no row has the value ${SPLIT[part]}, which marks the ${part} part`,
    );
  }
  checkLabels(files.labels, labels, rows);
  checkFeatures(files.embeddings, data, dim, rows);
  return { features: data, dim, rows, labels: rows.map((row) => labels[row]!) };
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
export function withClasses(part: LabelledRows): TrainingData {
  const identities = Int32Array.from(new Set(part.labels)).sort();
  const classOf = new Map<number, number>();
  for (const [index, label] of identities.entries()) classOf.set(label, index);
  const classes = part.labels.map((label) => classOf.get(label)!);
  return { ...part, classes, identities };
}

/** Copies rows of the features to float32 [rows.length, dim]. */
export function gatherRows(
  { features, dim }: Pick<LabelledRows, 'features' | 'dim'>,
  rows: Int32Array,
): Float32Array {
  const out = new Float32Array(rows.length * dim);
  const values = features instanceof Uint16Array ? float16Values() : undefined;
  for (const [index, row] of rows.entries()) {
    const source = features.subarray(row * dim, (row + 1) * dim);
    const start = index * dim;
    if (values === undefined) out.set(source, start);
    else {
      for (let column = 0; column < dim; column += 1) {
        out[start + column] = values[source[column]!]!;
      }
    }
  }
  return out;
}
