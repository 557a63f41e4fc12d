import { AlphaMarginError } from '../errors.js';

/** What the usual failures of the file system mean, in words. */
const MEANING: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of the path is not a directory',
  EISDIR: 'it is a directory',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would exceed the size limit',
  EMFILE: 'too many open files',
  EIO: 'the device reported an input/output error',
  ENAMETOOLONG: 'the name is too long',
};

/**
 * The error of a file that is damaged, truncated or foreign:
 * `/data/head.safetensors: truncated: …`.
 */
export function damagedFile(path: string, problem: string): AlphaMarginError {
  return new AlphaMarginError('ERR_CHECKPOINT', `${path}: ${problem}`);
}

/**
 * Turns a failure of the file system into `ERR_CHECKPOINT` with the path and the
 * reason; any other error (of a caller's iterator, say) comes back unchanged.
 */
export function fileError(
  path: string,
  action: 'read' | 'write',
  cause: unknown,
): unknown {
  const code = (cause as NodeJS.ErrnoException | null)?.code;
  if (!(cause instanceof Error) || cause instanceof AlphaMarginError) {
    return cause;
  }
  if (typeof code !== 'string' || !('syscall' in cause)) return cause;
  const reason = MEANING[code] ?? cause.message;
  return new AlphaMarginError(
    'ERR_CHECKPOINT',
    `${path}: cannot ${action} the file: ${reason} (${code})`,
    { cause },
  );
}
