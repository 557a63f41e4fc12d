import type { FileHandle } from 'node:fs/promises';
import { damagedFile } from './file-errors.js';
import { readExactly } from './file-reading.js';

/** Bytes held of a file that is read from front to back. */
const CHUNK_BYTES = 2 ** 18;

const LINE_END = 0x0a;

/** Longest line or field that is held: 16 MiB. */
const LONGEST_FIELD = 2 ** 24;

/** Refuses a line or name that would take memory without bound. */
export function checkFieldLength(path: string, length: number): void {
  if (length <= LONGEST_FIELD) return;
  throw damagedFile(
    path,
    `a line or name in it is longer than ${LONGEST_FIELD} bytes`,
  );
}

/** Reads a file from front to back; memory is one chunk, whatever the file says. */
export class ByteReader {
  readonly path: string;
  /** Of the file, in bytes. */
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #chunk: Buffer;
  /** The part of the chunk that was read from the file and not yet taken. */
  #rest: Buffer;
  #position: number;

  /**
   * @param chunkBytes Most bytes read at once.
   */
  constructor(
    path: string,
    { handle, size }: { handle: FileHandle; size: number },
    position = 0,
    chunkBytes = CHUNK_BYTES,
  ) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
    this.#position = position;
    this.#chunk = Buffer.allocUnsafe(chunkBytes);
    this.#rest = this.#chunk.subarray(0, 0);
  }

  /** Position in the file of the next byte. */
  get position(): number {
    return this.#position;
  }

  /** The next bytes, without taking them: `count` (at most a chunk), or fewer at the file's end. */
  async peek(count: number): Promise<Buffer> {
    if (this.#rest.length < count) await this.#fill();
    return this.#rest.subarray(0, count);
  }

  /** Takes bytes that were seen. */
  skip(count: number): void {
    this.#rest = this.#rest.subarray(count);
    this.#position += count;
  }

  /** Takes as many bytes as `target` holds. */
  async readInto(target: Uint8Array): Promise<void> {
    const held = this.#rest.subarray(0, target.length);
    target.set(held);
    this.skip(held.length);
    const missing = target.subarray(held.length);
    await readExactly(this.#handle, this.path, missing, this.#position);
    this.#position += missing.length;
  }

  /**
   * Takes the bytes before an end, or all that follow when there is none.
   *
   * @param findEnd Index of the end in the bytes at hand, or −1.
   */
  async takeUntil(findEnd: (bytes: Buffer) => number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let length = 0;
    for (;;) {
      if (this.#rest.length === 0) await this.#fill();
      const bytes = this.#rest;
      const end = findEnd(bytes);
      // A copy: the chunk is written again.
      const piece = Buffer.from(bytes.subarray(0, end < 0 ? undefined : end));
      this.skip(piece.length);
      length += piece.length;
      checkFieldLength(this.path, length);
      if (piece.length > 0) pieces.push(piece);
      if (end >= 0 || bytes.length === 0) return Buffer.concat(pieces);
    }
  }

  /** Moves what is left to the front of the chunk and fills the chunk from the file. */
  async #fill(): Promise<void> {
    const held = this.#rest.length;
    this.#rest.copy(this.#chunk);
    const from = this.#position + held;
    const wanted = Math.min(this.#chunk.length - held, this.size - from);
    const target = this.#chunk.subarray(held, held + Math.max(wanted, 0));
    await readExactly(this.#handle, this.path, target, from);
    this.#rest = this.#chunk.subarray(0, held + target.length);
  }
}

/** Takes a line and its end; the end is not part of it. */
export async function takeLine(reader: ByteReader): Promise<Buffer> {
  const line = await reader.takeUntil((bytes) => bytes.indexOf(LINE_END));
  reader.skip(Math.min(1, reader.size - reader.position));
  return line;
}
