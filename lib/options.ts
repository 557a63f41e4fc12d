import { invalidArgument } from './errors.js';

/**
 * Reads an options object: a plain object (or nothing) made of known keys, each read once. A
 * misspelt option is an error, not a default.
 */
export function readOptions<Options extends object>(
  functionName: string,
  options: unknown,
  known: readonly (keyof Options & string)[],
): Partial<Options> {
  if (options === undefined) return {};
  if (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options)
  ) {
    throw invalidArgument(functionName, 'options', 'an object', options);
  }
  const copy: Record<string, unknown> = { ...options };
  for (const key of Object.keys(copy)) {
    if ((known as readonly string[]).includes(key)) continue;
    throw invalidArgument(
      functionName,
      'options',
      `made of ${known.join(', ')}`,
      key,
    );
  }
  const { signal } = copy;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidArgument(
      functionName,
      'options.signal',
      'an AbortSignal',
      signal,
    );
  }
  return copy as Partial<Options>;
}
