import { damagedFile } from './file-errors.js';

/** Most numbers of a row: beyond any embedding, and a damaged size asks for gigabytes. */
export const LARGEST_DIM = 2 ** 20;

/** Bytes of the longest header of an object that can be read. */
export const HEADER_BYTES = 15;

/** What the header of a binary Kaldi object says. */
export interface KaldiHeader {
  readonly element: 'float32' | 'float64';
  /** Rows of a matrix; 1 for a vector. */
  readonly rows: number;
  readonly dim: number;
  /** Bytes before the first element. */
  readonly headerBytes: number;
}

/** Objects that can be read, by the token Kaldi writes. */
const KINDS: Readonly<
  Record<string, { element: 'float32' | 'float64'; matrix: boolean }>
> = {
  'FV ': { element: 'float32', matrix: false },
  'DV ': { element: 'float64', matrix: false },
  'FM ': { element: 'float32', matrix: true },
  'DM ': { element: 'float64', matrix: true },
};

/** Whether bytes at the place of a Kaldi object are binary; text begins otherwise. */
export function isBinary(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && bytes[1] === 0x42;
}

/**
 * Reads the header of a binary vector or matrix and checks its sizes against the file.
 *
 * @param where Path and name, for messages.
 * @param bytes From the object's `\0B` on: {@link HEADER_BYTES}, or fewer at the file's end.
 * @param available Bytes of the file from there on.
 */
export function decodeKaldiHeader(
  where: string,
  bytes: Buffer,
  available: number,
): KaldiHeader {
  const token = bytes.toString('latin1', 2, 5);
  if (!Object.hasOwn(KINDS, token)) throw damagedFile(where, unknown(token));
  const { element, matrix } = KINDS[token]!;
  const headerBytes = matrix ? 15 : 10;
  if (bytes.length < headerBytes) {
    throw damagedFile(where, 'truncated: the file ends in the header');
  }
  const size = (at: number) => {
    if (bytes[at] !== 4) {
      throw damagedFile(where, `a size takes ${bytes[at]} bytes, expected 4`);
    }
    return bytes.readInt32LE(at + 1);
  };
  const rows = matrix ? size(5) : 1;
  const dim = size(matrix ? 10 : 5);
  if (rows < 0 || dim < 0 || dim > LARGEST_DIM) {
    throw damagedFile(
      where,
      `impossible sizes (${rows}, ${dim}); a row has at most ${LARGEST_DIM} numbers`,
    );
  }
  const dataBytes = rows * dim * (element === 'float32' ? 4 : 8);
  if (headerBytes + dataBytes > available) {
    throw damagedFile(
      where,
      `truncated: sizes (${rows}, ${dim}) of ${element} take ${dataBytes} bytes, ` +
        `the file holds ${available - headerBytes}`,
    );
  }
  return { element, rows, dim, headerBytes };
}

function unknown(token: string): string {
  const shown = JSON.stringify(token.trim());
  if (/^CM[ 23]$/.test(token)) {
    return `a compressed matrix (${shown}) cannot be read; write it with --compress=false`;
  }
  return `expected a float vector or matrix (FV, DV, FM or DM) but found ${shown}`;
}
