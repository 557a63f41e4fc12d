import { randomBytes } from 'node:crypto';
import {
  type FileHandle,
  open,
  realpath,
  rename,
  rm,
  stat,
} from 'node:fs/promises';
import path from 'node:path';
import { invalidArgument } from '../errors.js';
import { damagedFile, fileError } from './file-errors.js';
import { filePath } from './file-path.js';

/** Linux moves at most 2^31 − 4096 bytes per call. */
const LARGEST_WRITE = 2 ** 30;

/** Writes every byte of `bytes`, at the end or at a place: one call may write less than it was given. */
export async function writeAll(
  handle: FileHandle,
  bytes: Uint8Array,
  place: number | null = null,
): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const length = Math.min(bytes.byteLength - done, LARGEST_WRITE);
    const at = place === null ? null : place + done;
    const { bytesWritten } = await handle.write(bytes, done, length, at);
    done += bytesWritten;
  }
}

/**
 * Writes a file so that its path holds the old content or the new one, never a part.
 *
 * The content goes to a temporary file in the same directory, which is flushed to the
 * device and renamed; then the directory is flushed, so that the rename survives a power
 * cut. On any failure the temporary file is removed and the old file stays as it was.
 *
 * @param file Path to write.
 * @param fill Writes the content, in order, through the handle.
 * @throws AlphaMarginError `ERR_CHECKPOINT` with the path and the reason.
 */
export async function writeFileAtomically(
  file: string | URL,
  fill: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const own = filePath('writeFileAtomically', file);
  if (typeof fill !== 'function') {
    throw invalidArgument('writeFileAtomically', 'fill', 'a function', fill);
  }
  let temporary: string | undefined;
  try {
    const target = await resolveTarget(own);
    const name = temporaryName(target);
    const handle = await open(name, 'wx');
    temporary = name;
    try {
      await fill(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(name, target);
    temporary = undefined;
    await flushDirectory(path.dirname(target));
  } catch (cause) {
    if (temporary !== undefined) await rm(temporary, { force: true });
    throw fileError(own, 'write', cause);
  }
}

/**
 * Fails as {@link writeFileAtomically} would if the file cannot be written, before the work whose
 * result it is to hold.
 */
export async function checkWritable(file: string): Promise<void> {
  try {
    const name = temporaryName(await resolveTarget(file));
    await (await open(name, 'wx')).close();
    await rm(name);
  } catch (cause) {
    throw fileError(file, 'write', cause);
  }
}

/** Writes text with {@link writeFileAtomically}. */
export async function writeTextAtomically(
  file: string | URL,
  text: string,
): Promise<void> {
  const own = filePath('writeTextAtomically', file);
  if (typeof text !== 'string') {
    throw invalidArgument('writeTextAtomically', 'text', 'a string', text);
  }
  await writeFileAtomically(own, (handle) => handle.writeFile(text));
}

/** A name that no other process uses, in the directory of `target`. */
function temporaryName(target: string): string {
  const suffix = `${process.pid}-${randomBytes(4).toString('hex')}`;
  return path.join(path.dirname(target), `.alphamargin-${suffix}.tmp`);
}

/**
 * The path the rename replaces: behind symbolic links, so that a link stays a link, and
 * never a device or a directory (as root, a rename would replace /dev/null).
 */
async function resolveTarget(file: string): Promise<string> {
  let target: string;
  try {
    target = await realpath(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return file;
    throw cause;
  }
  const status = await stat(target);
  if (!status.isFile()) {
    throw damagedFile(file, 'cannot write the file: not a regular file');
  }
  return target;
}

/**
 * Flushes a directory's entries; some network file systems cannot, and need not. Nor can Windows, whose
 * file system keeps a journal of them.
 */
async function flushDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EINVAL' && code !== 'ENOTSUP') throw cause;
  } finally {
    await handle.close();
  }
}
