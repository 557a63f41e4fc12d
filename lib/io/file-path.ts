import { invalidArgument } from '../errors.js';

/** Checks the name of a file: a string that the system can take. */
export function checkPath(
  functionName: string,
  path: unknown,
): asserts path is string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return;
  throw invalidArgument(functionName, 'path', 'the name of a file', path);
}
