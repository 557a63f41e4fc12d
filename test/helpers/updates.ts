import { expect } from 'vitest';
import type { PrototypeHead, Tensor } from '../../lib/index.js';
import { contract, relativeError } from './contract.js';

/** A learning rate that moves prototypes so far that the rounding of where they are does not show. */
export function largeLearningRate(gradPrototypes: Float64Array): number {
  const squares = gradPrototypes.reduce((sum, g) => sum + g * g, 0);
  const norm = Math.sqrt(squares) || 1;
  return (1000 * Math.sqrt(gradPrototypes.length)) / norm;
}

/**
 * A step of SGD without momentum has moved the head's prototypes along their gradient, within the
 * contract or another relative `error`; returns how far, by the learning rate.
 */
export async function expectUpdate(
  head: PrototypeHead,
  before: Tensor,
  gradPrototypes: Float64Array,
  learningRate: number,
  error: number = contract.headGradient,
): Promise<Float64Array> {
  const moved = Float64Array.from(
    (await head.prototypes()).data,
    (value, k) => (before.data[k]! - value) / learningRate,
  );
  expect(relativeError(moved, gradPrototypes)).toBeLessThanOrEqual(error);
  return moved;
}
