import { expect } from 'vitest';
import {
  AlphaMarginError,
  type AlphaMarginErrorCode,
  type TensorLike,
} from '../../lib/index.js';

/** A call that must fail, the code it fails with, and what its message says. */
export type BadCall = readonly [
  name: string,
  call: () => unknown,
  code: AlphaMarginErrorCode,
  message: RegExp,
];

/**
 * Runs a call, synchronous or not, and checks its error: class, code, message, and a stack that
 * leads back to the test.
 */
export async function expectFailure(
  [, call, code, message]: BadCall,
  testFile: string,
): Promise<void> {
  let failure: unknown;
  try {
    await call();
  } catch (error) {
    failure = error;
  }
  expect(failure).toBeInstanceOf(AlphaMarginError);
  const error = failure as AlphaMarginError;
  expect(error.code).toBe(code);
  expect(error.message).toMatch(message);
  expect(error.stack).toContain(testFile);
}

/** Checks that message and stack of a call's error begin with the function that was called. */
export function expectName(call: () => unknown, functionName: string): void {
  const begin = `${functionName}: `;
  expect(call).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(`^${begin}`),
      stack: expect.stringMatching(`^AlphaMarginError: ${begin}`),
    }),
  );
}

const good = { data: new Float32Array(6), dims: [2, 3] };

/** Anything at all, as JavaScript callers may pass it. */
export const wrong = (value: unknown) => value as TensorLike;

/** What every function that takes a tensor [B, C] refuses, with part of its message. */
export const badTensors: [string, TensorLike, RegExp][] = [
  ['nothing', wrong(undefined), /to be a tensor but received undefined/],
  ['a number', wrong(3), /to be a tensor but received 3/],
  [
    'a bare array',
    wrong(Float32Array.of(1, 2)),
    /a tensor \(tensor\(data, dims\) makes one\) but received Float32Array/,
  ],
  [
    'float64 data',
    wrong({ data: new Float64Array(6), dims: [2, 3] }),
    /Float32Array.*Float64Array of length 6/,
  ],
  [
    'bits without a type',
    wrong({ data: new Uint16Array(6), dims: [2, 3] }),
    /float16/,
  ],
  ['a type that is not its data', { ...good, type: 'float16' }, /type/],
  [
    'sizes that do not fit',
    { ...good, dims: [2, 4] },
    /6 elements.*received 8/,
  ],
  ['a negative size', { ...good, dims: [-2, -3] }, /whole numbers/],
  ['a broken size', { ...good, dims: [1.5, 4] }, /whole numbers/],
  ['no sizes', wrong({ data: good.data }), /whole numbers/],
  ['three sizes', { ...good, dims: [1, 2, 3] }, /2 sizes/],
];
