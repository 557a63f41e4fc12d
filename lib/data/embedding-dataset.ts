import { AlphaMarginError, invalidArgument } from '../errors.js';
import { readArray } from '../typed-arrays.js';
import type { RowSource } from './row-source.js';

/** Rows read at once, so that what is kept of each does not add up. */
const PIECE_ROWS = 2 ** 14;

/** Rows that batches can be made of: an {@link EmbeddingDataset}, or rows held in some other way. */
export interface EmbeddingRows {
  /** Number of rows N. */
  readonly count: number;
  /** Numbers in a row, D. */
  readonly dim: number;
  /** Copies rows, in the order given, to `target` [rows.length, D]. */
  gather(rows: Int32Array, target: Float32Array): Promise<void>;
}

/**
 * Embeddings [N, D] in files, read by row: memory does not depend on N, but for the names of Kaldi
 * utterances. Made by {@link openEmbeddings}.
 */
export class EmbeddingDataset implements EmbeddingRows {
  /** Number of rows N, of all files together. */
  readonly count: number;
  /** Numbers in a row, D. */
  readonly dim: number;
  /** [N], the utterances, where every file is a Kaldi one. */
  readonly names: readonly string[] | undefined;
  readonly #parts: readonly RowSource[];
  /** First row of each part, and the end. */
  readonly #starts: readonly number[];
  #closed = false;

  /** @internal Use {@link openEmbeddings}. */
  constructor(parts: readonly RowSource[]) {
    const starts = [0];
    for (const { count } of parts) starts.push(starts.at(-1)! + count);
    this.#parts = parts;
    this.#starts = starts;
    this.count = starts.at(-1)!;
    this.dim = parts[0]!.dim;
    const names = parts.map((part) => part.names);
    this.names = names.includes(undefined)
      ? undefined
      : (names as string[][]).flat();
  }

  /**
   * Fills `target` with consecutive rows: as many as fit in it exactly.
   *
   * @param first Index of the first row.
   * @param target Float32Array, a whole number of rows of D.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for rows outside the data set or a part of a
   *   row; `ERR_CHECKPOINT` when a file cannot be read.
   * @example
   * const target = new Float32Array(100 * dataset.dim);
   * await dataset.readRows(5000, target); // rows 5000 … 5099
   */
  async readRows(first: number, target: Float32Array): Promise<void> {
    this.#checkOpen('readRows');
    const own = this.#targetOf('readRows', target);
    const count = own.length / this.dim;
    if (!Number.isInteger(count)) {
      throw invalidArgument(
        'readRows',
        'target',
        `whole rows of ${this.dim}`,
        target,
      );
    }
    if (!Number.isInteger(first) || first < 0 || first + count > this.count) {
      throw invalidArgument(
        'readRows',
        'first',
        `a row with ${count} rows from it on among ${this.count}`,
        first,
      );
    }
    for (let done = 0; done < count; done += PIECE_ROWS) {
      const length = Math.min(PIECE_ROWS, count - done);
      const rows = Int32Array.from({ length }, (_, i) => first + done + i);
      const part = own.subarray(done * this.dim, (done + length) * this.dim);
      await this.#gather('readRows', rows, part);
    }
  }

  /**
   * Copies rows from anywhere, in the order given; a row may be given twice. The files are read in
   * their own order, neighbours together.
   *
   * @param rows Int32Array of indices in [0, N).
   * @param target Float32Array [rows.length, D].
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for an index out of range or another length;
   *   `ERR_CHECKPOINT` when a file cannot be read.
   * @example
   * const target = new Float32Array(2 * dataset.dim);
   * await dataset.gather(Int32Array.of(9, 4), target);
   */
  async gather(rows: Int32Array, target: Float32Array): Promise<void> {
    await this.#gather('gather', rows, target);
  }

  async #gather(
    functionName: string,
    rows: Int32Array,
    target: Float32Array,
  ): Promise<void> {
    this.#checkOpen(functionName);
    const own = this.#targetOf(functionName, target);
    const chosen = readArray(rows, 'Int32Array')?.slice();
    if (chosen === undefined) {
      throw invalidArgument(functionName, 'rows', 'an Int32Array', rows);
    }
    if (own.length !== chosen.length * this.dim) {
      throw invalidArgument(
        functionName,
        'target',
        `a Float32Array of ${chosen.length} × ${this.dim}`,
        target,
      );
    }
    const wrong = chosen.findIndex((row) => row < 0 || row >= this.count);
    if (wrong >= 0) {
      throw invalidArgument(
        functionName,
        `rows[${wrong}]`,
        `a row in [0, ${this.count})`,
        chosen[wrong],
      );
    }
    for (const [index, part] of this.#parts.entries()) {
      const [start, end] = [this.#starts[index]!, this.#starts[index + 1]!];
      const slots = Int32Array.from(chosen.keys()).filter(
        (slot) => chosen[slot]! >= start && chosen[slot]! < end,
      );
      if (slots.length === 0) continue;
      const rowsOfPart = slots.map((slot) => chosen[slot]! - start);
      try {
        await part.copyRows(rowsOfPart, slots, own);
      } catch (cause) {
        this.#checkOpen(functionName); // it was closed meanwhile
        if (own.length === chosen.length * this.dim) throw cause;
        const expected = 'an array that keeps its memory until it is filled';
        throw invalidArgument(functionName, 'target', expected, target);
      }
    }
  }

  /** @internal The part that a row belongs to, and its number there. */
  placeOf(row: number): { readonly part: number; readonly row: number } {
    const part = this.#starts.findLastIndex((start) => start <= row);
    return { part, row: row - this.#starts[part]! };
  }

  #checkOpen(functionName: string): void {
    if (!this.#closed) return;
    throw new AlphaMarginError(
      'ERR_DISPOSED',
      `${functionName}: the data set is closed`,
    );
  }

  #targetOf(functionName: string, target: unknown): Float32Array {
    const own = readArray(target, 'Float32Array');
    if (own !== undefined) return own;
    throw invalidArgument(functionName, 'target', 'a Float32Array', target);
  }

  /** Closes the files; reading afterwards fails with `ERR_DISPOSED`. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const part of this.#parts) await part.close();
  }

  /** Closes the files at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Checks that something has rows to be read; returns them with every property read once. */
export function checkDataset(
  functionName: string,
  value: EmbeddingRows,
): EmbeddingRows {
  const { count, dim, gather } = value ?? {};
  const isSize = (size: unknown, least: number) =>
    Number.isSafeInteger(size) && (size as number) >= least;
  if (typeof gather !== 'function' || !isSize(count, 0) || !isSize(dim, 1)) {
    throw invalidArgument(
      functionName,
      'dataset',
      'a data set with count, dim and gather()',
      value,
    );
  }
  const read = (rows: Int32Array, target: Float32Array) =>
    Reflect.apply(gather, value, [rows, target]) as Promise<void>;
  return { count, dim, gather: read };
}
