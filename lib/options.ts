import { types } from 'node:util';
import { invalidArgument } from './errors.js';

/**
 * Reads an options object: a plain object (or nothing) made of known keys, each read once. A
 * misspelt option is an error, not a default.
 *
 * @param argument What messages call it.
 */
export function readOptions<Options extends object>(
  functionName: string,
  options: unknown,
  known: readonly (keyof Options & string)[],
  argument = 'options',
): Partial<Options> {
  if (options === undefined) return {};
  if (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options)
  ) {
    throw invalidArgument(functionName, argument, 'an object', options);
  }
  const copy: Record<string, unknown> = { ...options };
  for (const key of Object.keys(copy)) {
    if ((known as readonly string[]).includes(key)) continue;
    throw invalidArgument(
      functionName,
      argument,
      `made of ${known.join(', ')}`,
      key,
    );
  }
  const { signal } = copy;
  checkSignal(functionName, signal);
  return copy as Partial<Options>;
}

const isAborted = Object.getOwnPropertyDescriptor(
  AbortSignal.prototype,
  'aborted',
)!.get!;

/** Checks that an option is an AbortSignal, not an object that only inherits from it. */
export function checkSignal(
  functionName: string,
  signal: unknown,
): asserts signal is AbortSignal | undefined {
  if (signal === undefined) return;
  try {
    if (types.isProxy(signal)) throw new TypeError('a proxy');
    Reflect.apply(isAborted, signal, []);
  } catch {
    throw invalidArgument(
      functionName,
      'options.signal',
      'an AbortSignal',
      signal,
    );
  }
}
