import { AlphaMarginError } from '../errors.js';
import type { TrialList } from '../verification/parse-trials.js';

/** Norms between which a row has a direction, as the kernels see it. */
const SMALLEST_NORM = 1e-30;
const LARGEST_NORM = 1e30;

/** The first row of [N, dim] that has no direction for the kernels, and its norm (NaN: not finite). */
export function findUnusable(
  features: Float32Array,
  dim: number,
): { readonly row: number; readonly norm: number } | undefined {
  for (let row = 0; row * dim < features.length; row += 1) {
    const end = (row + 1) * dim;
    let squares = 0;
    for (let index = end - dim; index < end; index += 1) {
      const value = features[index]!;
      squares += value * value;
    }
    // One comparison finds NaN and infinities too: float32 squares cannot overflow a double.
    if (squares >= SMALLEST_NORM ** 2 && squares <= LARGEST_NORM ** 2) continue;
    const finite = Number.isFinite(squares);
    return { row, norm: finite ? Math.sqrt(squares) : Number.NaN };
  }
  return undefined;
}

/**
 * Refuses rows of the embeddings that cannot be used, before anything is computed: the error
 * names the file and the row in it, whatever batch or part the row would have come up in.
 *
 * @param features [rows.length, dim], what the rows hold.
 * @param placeOf Says where a row lies.
 */
export function checkFeatures(
  features: Float32Array,
  dim: number,
  rows: Int32Array,
  placeOf: (row: number) => string,
): void {
  const found = findUnusable(features, dim);
  if (found === undefined) return;
  const place = placeOf(rows[found.row]!);
  if (Number.isNaN(found.norm)) {
    throw new AlphaMarginError(
      'ERR_NON_FINITE',
      `${place} holds NaN or an infinity; embeddings must be finite`,
    );
  }
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `${place} has norm ${found.norm} but needs a direction: ` +
      'norms must lie between 1e-30 and 1e30',
  );
}

/** Refuses negative labels among the rows that are used, naming the file and the row in it. */
export function checkLabels(
  file: string,
  labels: Int32Array,
  rows: Int32Array,
): void {
  const row = rows.find((candidate) => labels[candidate]! < 0);
  if (row === undefined) return;
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `${file}: row ${row} (counted from 0) holds the label ${labels[row]}; ` +
      'labels must be >= 0 (leave rows without an identity out with --split)',
  );
}

/** Refuses rows that make pairs of one kind only, of which no rate follows. */
export function checkLabelledPairs(file: string, labels: Int32Array): void {
  const identities = new Set(labels).size;
  const rows = labels.length;
  if (identities > 1 && identities < rows) return;
  const problem =
    identities > 1
      ? `no two of the ${rows} rows that are compared are of one identity, so there is no genuine pair`
      : `the ${rows} rows that are compared are of one identity, so there is no impostor pair`;
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `${file}: ${problem}; rates need both kinds`,
  );
}

/** Refuses a list with trials of one kind only. */
export function checkTrialKinds(file: string, { genuine }: TrialList): void {
  const kinds = [
    ['impostor', '0 or nontarget'],
    ['genuine', '1 or target'],
  ] as const;
  for (const [label, [kind, shown]] of kinds.entries()) {
    if (genuine.includes(label)) continue;
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${file}: it has no ${kind} trial (label ${shown}); rates need both kinds`,
    );
  }
}
