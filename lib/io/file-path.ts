import { fileURLToPath } from 'node:url';
import { invalidArgument } from '../errors.js';

/** Checks the name of a file, a string or a file URL; returns it as a string the system can take. */
export function filePath(functionName: string, path: unknown): string {
  const name = path instanceof URL ? pathOf(path) : path;
  if (typeof name === 'string' && name !== '' && !name.includes('\0')) {
    return name;
  }
  const expected = 'the name of a file or a file URL';
  const shown = path instanceof URL ? shownUrl(path) : path;
  throw invalidArgument(functionName, 'path', expected, shown);
}

/** Undefined for a URL that names no file of this machine. */
function pathOf(url: URL): string | undefined {
  try {
    return fileURLToPath(url);
  } catch {
    return undefined;
  }
}

function shownUrl(url: URL): unknown {
  try {
    return String(url);
  } catch {
    return url; // what only inherits from URL
  }
}
