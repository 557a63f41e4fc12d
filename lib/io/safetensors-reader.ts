import type { FileHandle } from 'node:fs/promises';
import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { arrayKind, readBytes } from '../typed-arrays.js';
import { damagedFile } from './file-errors.js';
import { filePath } from './file-path.js';
import { openForReading, readExactly } from './file-reading.js';
import { decodeHeader } from './safetensors-decoding.js';
import {
  arrayKindsOf,
  LARGEST_HEADER,
  LENGTH_BYTES,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from './safetensors-header.js';

/** Bytes per piece of {@link SafetensorsFile.rows} when the caller does not say. */
const DEFAULT_CHUNK_BYTES = 2 ** 24;

/** Bytes read at a time on the way to a caller's array. */
const STAGING_BYTES = 2 ** 20;

/** Consecutive rows of a tensor. */
export interface SafetensorsRows {
  /** Index of the first row. */
  readonly first: number;
  /** Number of rows. */
  readonly count: number;
  /** Their bytes; a buffer of its own, aligned for every element type. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An open safetensors file with a checked header; made by {@link openSafetensors}. */
export class SafetensorsFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Descriptions of the tensors, by name. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly #handle: FileHandle;
  readonly #dataStart: number;
  #closed = false;

  /** @internal Use {@link openSafetensors}. */
  constructor(
    path: string,
    handle: FileHandle,
    header: SafetensorsHeader,
    dataStart: number,
  ) {
    this.path = path;
    this.#handle = handle;
    this.#dataStart = dataStart;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
  }

  /** The description of a tensor; `ERR_CHECKPOINT` when the file has none of that name. */
  tensor(name: string): SafetensorsEntry {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      throw damagedFile(this.path, `there is no tensor ${describe(name)}`);
    }
    return entry;
  }

  /**
   * Fills `target` with the rows of a tensor from `first` on: as many rows as fit in it exactly.
   * Elements are not converted (`openEmbeddings` of `alphamargin/data` does that), so the array must
   * be of the tensor's element type:
   *
   * | `dtype` of the tensor | `target` |
   * |---|---|
   * | F64, F32 | Float64Array, Float32Array |
   * | F16 | Uint16Array of bits, or Float16Array |
   * | BF16 | Uint16Array of bits |
   * | I64, I32, I16, I8 | BigInt64Array, Int32Array, Int16Array, Int8Array |
   * | U64, U32, U16, U8 | BigUint64Array, Uint32Array, Uint16Array, Uint8Array or Uint8ClampedArray |
   * | BOOL, F8_E5M2, F8_E4M3 | Uint8Array |
   * | every one | Uint8Array (a Buffer, too) or DataView: the bytes as they are in the file, little-endian |
   *
   * @param name Tensor.
   * @param first Index of the first row (outermost size), a whole number from 0 on.
   * @param target A view whose size is a whole number of rows.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for an array of another kind, a part of a row or
   *   rows outside the tensor; `ERR_CHECKPOINT` when there is no such tensor or the file cannot be
   *   read; `ERR_DISPOSED` when the file is closed.
   */
  async readRows(
    name: string,
    first: number,
    target: ArrayBufferView,
  ): Promise<void> {
    this.#checkOpen('readRows');
    const entry = this.tensor(name);
    const rowBytes = bytesPerRow(entry);
    const bytes = readBytes(target);
    if (bytes === undefined) {
      throw invalidArgument('readRows', 'target', 'a typed array', target);
    }
    checkKind(entry, target);
    const count = rowBytes === 0 ? 0 : bytes.byteLength / rowBytes;
    if (
      !Number.isInteger(count) ||
      !Number.isInteger(first) ||
      first < 0 ||
      first + count > (entry.shape[0] ?? 1)
    ) {
      throw invalidArgument(
        'readRows',
        `rows of '${name}' [${entry.shape.join(', ')}]`,
        'whole rows inside the tensor',
        `${bytes.byteLength} bytes from row ${describe(first)}`,
      );
    }
    // Not into the target: its memory may be transferred, and freed, while the file is read.
    const staging = new Uint8Array(Math.min(bytes.length, STAGING_BYTES));
    for (let done = 0; done < bytes.length; done += staging.length) {
      const piece = staging.subarray(0, bytes.length - done);
      await this.#read('readRows', entry, first * rowBytes + done, piece);
      if (done + piece.length > bytes.length) {
        const expected = 'an array that keeps its memory until it is filled';
        throw invalidArgument('readRows', 'target', expected, target);
      }
      bytes.set(piece, done);
    }
  }

  async #read(
    functionName: string,
    entry: SafetensorsEntry,
    offset: number,
    target: Uint8Array,
  ): Promise<void> {
    this.#checkOpen(functionName);
    const position = this.#dataStart + entry.begin + offset;
    try {
      await readExactly(this.#handle, this.path, target, position);
    } catch (cause) {
      this.#checkOpen(functionName); // it was closed meanwhile
      throw cause;
    }
  }

  #checkOpen(functionName: string): void {
    if (!this.#closed) return;
    throw new AlphaMarginError(
      'ERR_DISPOSED',
      `${functionName}: ${this.path} is closed`,
    );
  }

  /**
   * The rows of a tensor in order, in pieces of at most `rowsPerChunk` rows, so that memory does
   * not depend on the size of the tensor.
   */
  async *rows(
    name: string,
    options: { rowsPerChunk?: number } = {},
  ): AsyncGenerator<SafetensorsRows> {
    this.#checkOpen('rows');
    const entry = this.tensor(name);
    const rowBytes = bytesPerRow(entry);
    const total = rowBytes === 0 ? 0 : (entry.shape[0] ?? 1);
    const { rowsPerChunk } = readOptions<{ rowsPerChunk?: number }>(
      'rows',
      options,
      ['rowsPerChunk'],
    );
    const perChunk =
      rowsPerChunk ??
      Math.max(1, Math.floor(DEFAULT_CHUNK_BYTES / Math.max(1, rowBytes)));
    if (!Number.isSafeInteger(perChunk) || perChunk < 1) {
      throw invalidArgument(
        'rows',
        'options.rowsPerChunk',
        'a whole number >= 1',
        perChunk,
      );
    }
    for (let first = 0; first < total; first += perChunk) {
      const count = Math.min(perChunk, total - first);
      const bytes = new Uint8Array(count * rowBytes);
      await this.#read('rows', entry, first * rowBytes, bytes);
      yield { first, count, bytes };
    }
  }

  /** Closes the file; reading afterwards fails with `ERR_DISPOSED`. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#handle.close();
  }

  /** Closes the file at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens a safetensors file and checks its header completely: lengths, JSON, element types, sizes
 * against offsets, no gap, no overlap, and the exact size of the file.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` with the path and what is wrong.
 * @example
 * const file = await openSafetensors('head.safetensors');
 * for await (const { first, bytes } of file.rows('prototypes')) use(first, bytes);
 * await file.close();
 */
export async function openSafetensors(
  path: string | URL,
): Promise<SafetensorsFile> {
  const source = filePath('openSafetensors', path);
  const { handle, size } = await openForReading(source);
  try {
    const start = new Uint8Array(LENGTH_BYTES);
    if (size < LENGTH_BYTES) {
      throw damagedFile(source, `truncated: ${size} bytes hold no header`);
    }
    await readExactly(handle, source, start, 0);
    const length = new DataView(start.buffer).getBigUint64(0, true);
    if (length > BigInt(LARGEST_HEADER)) {
      throw damagedFile(
        source,
        `not a safetensors file, or the header is too large: ${length} bytes ` +
          `(at most ${LARGEST_HEADER})`,
      );
    }
    const dataStart = LENGTH_BYTES + Number(length);
    if (dataStart > size) {
      throw damagedFile(
        source,
        `truncated: the header takes ${length} bytes, the file holds ` +
          `${size - LENGTH_BYTES} after its length`,
      );
    }
    const text = new Uint8Array(Number(length));
    await readExactly(handle, source, text, LENGTH_BYTES);
    const header = decodeHeader(source, text, size - dataStart);
    return new SafetensorsFile(source, handle, header, dataStart);
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

/** Refuses arrays that would show the bytes of a tensor as numbers of another type. */
function checkKind({ name, dtype }: SafetensorsEntry, target: unknown): void {
  const kind = arrayKind(target); // undefined for a DataView, which has no type
  const kinds = arrayKindsOf(dtype);
  if (kind === undefined || kind === 'Uint8Array' || kinds.includes(kind)) {
    return;
  }
  throw invalidArgument(
    'readRows',
    `target of '${name}', which is ${dtype},`,
    [...new Set([...kinds, 'Uint8Array'])].join(' or '),
    target,
  );
}

/** Bytes of one entry along the outermost size; a scalar is one row. */
function bytesPerRow({ byteLength, shape }: SafetensorsEntry): number {
  const rows = shape[0] ?? 1;
  return rows === 0 ? 0 : byteLength / rows;
}
