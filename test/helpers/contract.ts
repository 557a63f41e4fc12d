import { expect } from 'vitest';

/** The numerical contract: bounds that hold on every backend. */
export const contract = {
  posterior: 2e-6,
  /** Posteriors above this must be in the support, and the other way round. */
  supportAbove: 1e-6,
  gradientPerScale: 4e-6,
  headGradient: 1e-5,
} as const;

/** |loss − expected| ≤ 2e-6·(1 + ℓ), and relative 1e-4 down to ℓ = 1e-5. */
export function expectLoss(received: number, expected: number): void {
  const error = Math.abs(received - expected);
  expect(error).toBeLessThanOrEqual(2e-6 * (1 + expected));
  if (expected >= 1e-5) expect(error).toBeLessThanOrEqual(1e-4 * expected);
}

/** Largest |a − b|. */
export function largestDifference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i += 1) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** ‖a − b‖ / ‖b‖. */
export function relativeError(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
): number {
  expect(a.length).toBe(b.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < a.length; i += 1) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return norm === 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm);
}

/** Every bit of two arrays is the same: for large arrays, where `toEqual` takes seconds. */
export function expectSameBits(a: ArrayBufferView, b: ArrayBufferView): void {
  const bytes = (view: ArrayBufferView) =>
    Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  expect(bytes(a).equals(bytes(b))).toBe(true);
}
