import { ByteReader } from './byte-reader.js';
import { copyElements, elementBytes } from './element-types.js';
import { damagedFile } from './file-errors.js';
import { filePath } from './file-path.js';
import { openForReading } from './file-reading.js';
import { decodeKaldiHeader, HEADER_BYTES, isBinary } from './kaldi-header.js';
import { readTextRows } from './kaldi-text.js';

/** A row of a Kaldi archive: a vector, or one row of a matrix. */
export interface ArkRow {
  /** Name of the vector or matrix: the utterance. */
  readonly name: string;
  /** Row in its matrix; 0 for a vector. */
  readonly row: number;
  /** Position in the file of the vector or matrix, behind its name: what an scp line holds. */
  readonly offset: number;
  /** [D], an array of its own; float64 is rounded to float32. */
  readonly vector: Float32Array;
}

const isSpace = (byte: number) =>
  byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

/**
 * The rows of a Kaldi archive in order: vectors and matrices of float32 or float64, binary (`FV`,
 * `DV`, `FM`, `DM`) or text. The file is read in chunks: memory does not depend on its size.
 *
 * @param path The archive (`.ark`).
 * @returns Rows; those of a matrix share `name` and `offset`.
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file is missing, damaged or truncated, or
 *   holds something else, a compressed matrix for instance; the message names the entry.
 * @example
 * for await (const { name, vector } of readArk('xvector.ark')) {
 *   console.log(name, vector.length);
 * }
 */
export async function* readArk(path: string | URL): AsyncGenerator<ArkRow> {
  const source = filePath('readArk', path);
  const file = await openForReading(source);
  try {
    const reader = new ByteReader(source, file);
    for (;;) {
      await reader.takeUntil((bytes) =>
        bytes.findIndex((byte) => !isSpace(byte)),
      );
      if (reader.position >= reader.size) return;
      const name = await readName(reader);
      const offset = reader.position;
      const where = `${source}: '${name.slice(0, 80)}' at byte ${offset}`;
      const start = await reader.peek(HEADER_BYTES);
      const rows = isBinary(start)
        ? readBinaryRows(where, reader, start)
        : readTextRows(where, reader);
      let row = 0;
      for await (const vector of rows) {
        yield { name, row, offset, vector };
        row += 1;
      }
    }
  } finally {
    await file.handle.close();
  }
}

/** Takes a name and the blank behind it. */
async function readName(reader: ByteReader): Promise<string> {
  const start = reader.position;
  const bytes = await reader.takeUntil((bytes) =>
    bytes.findIndex((byte) => byte === 0 || isSpace(byte)),
  );
  const [next] = await reader.peek(1);
  if (bytes.length === 0 || (next !== 0x20 && next !== 0x09)) {
    throw damagedFile(
      reader.path,
      `expected a name and a blank at byte ${start}: not a Kaldi archive, or damaged`,
    );
  }
  reader.skip(1);
  return bytes.toString();
}

async function* readBinaryRows(
  where: string,
  reader: ByteReader,
  start: Buffer,
): AsyncGenerator<Float32Array> {
  const available = reader.size - reader.position;
  const header = decodeKaldiHeader(where, start, available);
  const { element, rows, dim, headerBytes } = header;
  reader.skip(headerBytes);
  if (dim === 0) return;
  const bytes = Buffer.allocUnsafe(dim * elementBytes(element));
  for (let row = 0; row < rows; row += 1) {
    await reader.readInto(bytes);
    const vector = new Float32Array(dim);
    copyElements(element, bytes, vector);
    yield vector;
  }
}
