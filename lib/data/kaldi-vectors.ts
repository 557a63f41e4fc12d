import { AlphaMarginError } from '../errors.js';
import { ByteReader } from '../io/byte-reader.js';
import { copyElements, elementBytes } from '../io/element-types.js';
import { damagedFile } from '../io/file-errors.js';
import { type OpenFile, readExactly } from '../io/file-reading.js';
import {
  decodeKaldiHeader,
  HEADER_BYTES,
  isBinary,
  type KaldiHeader,
} from '../io/kaldi-header.js';
import { readTextRows } from '../io/kaldi-text.js';
import { copyRecords, type RecordPlace } from './copy-records.js';

/** Bytes held of a vector in text form while it is read. */
const TEXT_CHUNK_BYTES = 2 ** 14;

/** A vector to read, and the row of the data set it is. */
export interface VectorPlace extends RecordPlace {
  readonly row: number;
}

/** What the vectors are like: their dimension, and their header where they are binary. */
export interface VectorForm {
  readonly dim: number;
  readonly header: KaldiHeader | undefined;
}

/** Finds out what the vector at a place is like. */
export async function readForm(
  where: string,
  path: string,
  file: OpenFile,
  position: number,
): Promise<VectorForm> {
  const reader = new ByteReader(path, file, position, TEXT_CHUNK_BYTES);
  const start = await reader.peek(HEADER_BYTES);
  if (!isBinary(start)) {
    const vector = await onlyRow(where, reader);
    return { dim: vector.length, header: undefined };
  }
  const header = decodeKaldiHeader(where, start, file.size - position);
  if (header.headerBytes === HEADER_BYTES || header.dim === 0) {
    throw notAVector(where, `sizes (${header.rows}, ${header.dim})`);
  }
  return { dim: header.dim, header };
}

async function onlyRow(where: string, reader: ByteReader) {
  const rows: Float32Array[] = [];
  for await (const row of readTextRows(where, reader)) {
    rows.push(row);
    if (rows.length > 1) throw notAVector(where, 'a matrix');
  }
  if (rows.length === 0) throw notAVector(where, 'nothing');
  return rows[0]!;
}

/** Vectors of one form to copy from a file to rows of the target. */
export interface VectorCopy {
  readonly path: string;
  readonly file: OpenFile;
  readonly form: VectorForm;
  readonly places: VectorPlace[];
  /** Path and name of a row, for messages. */
  readonly whereOf: (row: number) => string;
  readonly target: Float32Array;
}

/** Copies the vectors; each must be what the first one of the data set is. */
export function copyVectors(work: VectorCopy): Promise<void> {
  const { header } = work.form;
  return header === undefined ? copyText(work) : copyBinary(work, header);
}

async function copyBinary(work: VectorCopy, header: KaldiHeader) {
  const { path, file, form, places, whereOf, target } = work;
  const { element, headerBytes, dim } = header;
  const recordBytes = headerBytes + dim * elementBytes(element);
  for (const { position, row } of places) {
    if (position + recordBytes <= file.size) continue;
    throw damagedFile(
      whereOf(row),
      `truncated: a vector of ${dim} at byte ${position} ends behind byte ${file.size}`,
    );
  }
  const read = (bytes: Uint8Array, position: number) =>
    readExactly(file.handle, path, bytes, position);
  await copyRecords(read, recordBytes, places, (record, { slot, row }) => {
    const where = whereOf(row);
    if (!isBinary(record)) throw otherForm(where, 'text or damaged', form);
    const is = decodeKaldiHeader(where, record, file.size);
    if (is.dim !== dim || is.element !== element || is.rows !== 1) {
      throw otherForm(where, `${is.rows} × ${is.dim} of ${is.element}`, form);
    }
    const own = target.subarray(slot * dim, (slot + 1) * dim);
    copyElements(element, record.subarray(headerBytes), own);
  });
}

async function copyText(work: VectorCopy): Promise<void> {
  const { path, file, form, places, whereOf, target } = work;
  for (const { position, slot, row } of places) {
    const reader = new ByteReader(path, file, position, TEXT_CHUNK_BYTES);
    const vector = await onlyRow(whereOf(row), reader);
    if (vector.length !== form.dim) {
      throw otherForm(whereOf(row), `a vector of ${vector.length}`, form);
    }
    target.set(vector, slot * form.dim);
  }
}

function otherForm(
  where: string,
  received: string,
  { dim, header }: VectorForm,
) {
  const form = header === undefined ? 'text' : header.element;
  return damagedFile(
    where,
    `expected a vector of ${dim} (${form}) like the first one but found ${received}`,
  );
}

/** The error of an object that is no vector. */
export function notAVector(where: string, received: string): AlphaMarginError {
  return new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `openEmbeddings: expected ${where} to be one vector but received ${received}`,
  );
}
