import { describe, expect, it } from 'vitest';
import {
  a3mLossSync,
  cosFaceLossSync,
  entmaxLossSync,
  type LossResult,
  qMarginLossSync,
  tensor,
} from '../lib/index.js';
import { contract, expectLoss, largestDifference } from './helpers/contract.js';
import { type VectorCase, vectorCases } from './helpers/vectors.js';

/** The loss function of a case, on one row. */
function run(testCase: VectorCase): LossResult {
  const { alpha, scale, margin, reference } = testCase;
  const cosines = tensor(Float32Array.from(testCase.cosines), [
    1,
    testCase.cosines.length,
  ]);
  const labels = Int32Array.of(testCase.label);
  const options = {
    alpha,
    scale,
    reference: reference === null ? null : Float32Array.from(reference),
  };
  switch (testCase.kind) {
    case 'q-margin':
      return qMarginLossSync(cosines, labels, { ...options, margin });
    case 'a3m':
      return a3mLossSync(cosines, labels, { ...options, margin });
    case 'cosface':
      return cosFaceLossSync(cosines, labels, { ...options, margin });
    case 'none':
      return entmaxLossSync(cosines, labels, options);
  }
}

describe('losses against the float64 vectors', () => {
  it.each(vectorCases)('$name', (testCase) => {
    const result = run(testCase);
    expectLoss(result.loss.data[0]!, testCase.loss);
    expect(
      Math.abs(result.threshold[0]! - testCase.tau) /
        (1 + Math.abs(testCase.tau)),
    ).toBeLessThanOrEqual(1e-6);

    const gradient = result.backwardSync().data;
    const bound = contract.gradientPerScale * testCase.scale;
    expect(
      largestDifference(gradient, testCase.gradCosines),
    ).toBeLessThanOrEqual(bound);
    testCase.gradCosines.forEach((expected, j) => {
      // Exactly zero outside the support, and at zero loss everywhere.
      if (expected === 0) expect(Math.abs(gradient[j]!)).toBe(0);
      const isOther = j !== testCase.label;
      if (isOther && expected > contract.supportAbove * testCase.scale) {
        expect(gradient[j]).toBeGreaterThan(0);
      }
    });
    if (testCase.support !== result.supportSize[0]) {
      const negligible = testCase.gradCosines.filter(
        (g) => Math.abs(g) < contract.supportAbove * testCase.scale,
      ).length;
      expect(
        Math.abs(testCase.support - result.supportSize[0]!),
      ).toBeLessThanOrEqual(negligible);
    }
  });
});
