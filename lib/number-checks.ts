import { invalidArgument } from './errors.js';

/** Checks that a number is finite and lies in a range. */
export function checkNumber(
  functionName: string,
  argument: string,
  value: unknown,
  expected: string,
  accept: (value: number) => boolean,
): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || !accept(value)) {
    throw invalidArgument(functionName, argument, expected, value);
  }
  return value;
}
