import { AlphaMarginError } from '../errors.js';
import { float16Values } from '../io/float16.js';

/** Norms between which a row has a direction, as the kernels see it. */
const SMALLEST_NORM = 1e-30;
const LARGEST_NORM = 1e30;

/** The first of `rows` that has no direction for the kernels, and its norm (NaN: not finite). */
export function findUnusable(
  features: Float32Array | Uint16Array,
  dim: number,
  rows: Iterable<number>,
): { readonly row: number; readonly norm: number } | undefined {
  const values = features instanceof Uint16Array ? float16Values() : undefined;
  for (const row of rows) {
    const end = (row + 1) * dim;
    let squares = 0;
    for (let index = end - dim; index < end; index += 1) {
      const stored = features[index]!;
      const value = values === undefined ? stored : values[stored]!;
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
 * @param rows Rows that are used; others may hold anything.
 */
export function checkFeatures(
  file: string,
  features: Float32Array | Uint16Array,
  dim: number,
  rows: Int32Array,
): void {
  const found = findUnusable(features, dim, rows);
  if (found === undefined) return;
  const place = `${file}: row ${found.row} (counted from 0)`;
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
