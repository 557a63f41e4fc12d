import { type FileHandle, open } from 'node:fs/promises';
import { checkFieldLength } from './byte-reader.js';
import { fileError } from './file-errors.js';

const CHUNK_BYTES = 2 ** 16;
const LINE_END = 0x0a;

/**
 * The lines of a text file (UTF-8), without their `\n` and without a byte order mark. Memory is a
 * chunk and a line. A pipe can be read too.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file cannot be read or a line is longer than
 *   16 MiB.
 */
export async function* readTextLines(path: string): AsyncGenerator<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    let first = true;
    for await (const line of splitLines(path, handle)) {
      // The decoder keeps the mark.
      yield first && line.startsWith('\ufeff') ? line.slice(1) : line;
      first = false;
    }
  } catch (cause) {
    throw fileError(path, 'read', cause);
  } finally {
    await handle?.close();
  }
}

async function* splitLines(
  path: string,
  handle: FileHandle,
): AsyncGenerator<string> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  // A line's bytes are joined before they are decoded: a character may span two chunks.
  let pieces: Buffer[] = [];
  let length = 0;
  const takeLine = (end: Buffer) => {
    const line = pieces.length === 0 ? end : Buffer.concat([...pieces, end]);
    pieces = [];
    length = 0;
    return line.toString();
  };
  for (;;) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, null);
    if (bytesRead === 0) break;
    let start = 0;
    for (;;) {
      const end = chunk.subarray(0, bytesRead).indexOf(LINE_END, start);
      if (end < 0) break;
      yield takeLine(chunk.subarray(start, end));
      start = end + 1;
    }
    pieces.push(Buffer.from(chunk.subarray(start, bytesRead)));
    length += bytesRead - start;
    checkFieldLength(path, length);
  }
  if (length > 0) yield takeLine(Buffer.alloc(0));
}
