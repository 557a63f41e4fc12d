import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { damagedFile, fileError } from './file-errors.js';

/** Linux moves at most 2^31 − 4096 bytes per call. */
const LARGEST_READ = 2 ** 30;

/** A regular file open for reading, and its size in bytes. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly size: number;
}

/**
 * Opens a regular file.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` with the path and the reason.
 */
export async function openForReading(path: string): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    // Without O_NONBLOCK a named pipe would wait for its writer for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const status = await handle.stat();
    if (!status.isFile()) throw damagedFile(path, 'not a regular file');
    return { handle, size: status.size };
  } catch (cause) {
    await handle?.close();
    throw fileError(path, 'read', cause);
  }
}

/** Reads until `target` is full: one call may read less than it was asked for. */
export async function readExactly(
  handle: FileHandle,
  path: string,
  target: Uint8Array,
  position: number,
): Promise<void> {
  let done = 0;
  try {
    while (done < target.byteLength) {
      const length = Math.min(target.byteLength - done, LARGEST_READ);
      const at = position + done;
      const { bytesRead } = await handle.read(target, done, length, at);
      if (bytesRead === 0) {
        throw damagedFile(path, `truncated: it ends at byte ${at}`);
      }
      done += bytesRead;
    }
  } catch (cause) {
    throw fileError(path, 'read', cause);
  }
}
