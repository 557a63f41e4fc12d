import { describe, expect, it } from 'vitest';
import { a3m } from '../lib/index.js';
import { largestDifference, relativeError } from './helpers/contract.js';
import { familiesAndOrders, lossFamilies } from './helpers/losses.js';
import { normalTensor, randomLabels, uniform } from './helpers/random.js';
import { referenceRow, referenceTarget } from './helpers/reference.js';
import { referenceHead } from './helpers/reference-head.js';
import { specificationOf, vectorCases } from './helpers/vectors.js';

/*
 * The float64 reference of the other tests, checked itself: its values against the vectors, its
 * gradients against finite differences of its values.
 */

describe('the reference against the vectors', () => {
  it.each(vectorCases)('$name', (testCase) => {
    const row = referenceRow(
      specificationOf(testCase),
      testCase.cosines,
      testCase.label,
      testCase.reference,
    );
    expect(Math.abs(row.loss - testCase.loss)).toBeLessThanOrEqual(
      1e-9 * (1 + testCase.loss),
    );
    expect(
      largestDifference(row.gradCosines, testCase.gradCosines),
    ).toBeLessThanOrEqual(1e-9 * testCase.scale);
    expect(
      Math.abs(row.threshold - testCase.tau) / (1 + Math.abs(testCase.tau)),
    ).toBeLessThanOrEqual(1e-9);
  });
});

/** Central differences of a function of an array. */
function differences(
  at: Float64Array,
  step: number,
  value: (moved: Float64Array) => number,
): Float64Array {
  return at.map((_, k) => {
    const moved = (by: number) => {
      const copy = Float64Array.from(at);
      copy[k]! += by;
      return value(copy);
    };
    return (moved(step) - moved(-step)) / (2 * step);
  });
}

describe.each(familiesAndOrders)('$family, α $alpha', ({ family, alpha }) => {
  const loss = lossFamilies[family](alpha, 8);
  const measures = Float64Array.of(0.5, 2, 1, 1.5, 0.25);

  it.each([null, measures])('∂c by finite differences, q %#', (reference) => {
    const next = uniform(7);
    for (let sample = 0; sample < 8; sample += 1) {
      const cosines = Float64Array.from(
        { length: 5 },
        () => 1.8 * next() - 0.9,
      );
      const label = sample % 5;
      const { gradCosines } = referenceRow(
        loss,
        [...cosines],
        label,
        reference,
      );
      const expected = differences(
        cosines,
        1e-6,
        (moved) => referenceRow(loss, [...moved], label, reference).loss,
      );
      expect(largestDifference(gradCosines, expected)).toBeLessThan(1e-6);
    }
  });

  it('∂x and ∂w by finite differences', () => {
    const [batch, classes, dim] = [3, 5, 4];
    const embeddings = Float64Array.from(normalTensor(batch, dim, 1).data);
    const prototypes = Float64Array.from(normalTensor(classes, dim, 2).data);
    const labels = randomLabels(batch, classes, 3);
    const inputs = { embeddings, prototypes, labels, dim, reference: measures };
    const head = referenceHead(loss, inputs);
    // Otherwise there would be nothing to differentiate.
    expect(head.loss).toBeGreaterThan(0.01);
    const byEmbeddings = differences(
      embeddings,
      1e-6,
      (moved) => referenceHead(loss, { ...inputs, embeddings: moved }).loss,
    );
    const byPrototypes = differences(
      prototypes,
      1e-6,
      (moved) => referenceHead(loss, { ...inputs, prototypes: moved }).loss,
    );
    expect(relativeError(head.gradEmbeddings, byEmbeddings)).toBeLessThan(1e-6);
    expect(relativeError(head.gradPrototypes, byPrototypes)).toBeLessThan(1e-6);
  });
});

describe('a target beyond an angle of π', () => {
  it('costs more the further it is, without a jump of value or slope', () => {
    const loss = a3m({ alpha: 1.5, scale: 10, margin: 0.5 });
    const edge = Math.cos(Math.PI - 0.5);
    const before = referenceTarget(loss, edge + 1e-9);
    const after = referenceTarget(loss, edge - 1e-9);
    expect(Math.abs(before.value - after.value)).toBeLessThan(1e-8);
    expect(Math.abs(before.derivative - after.derivative)).toBeLessThan(1e-6);
    let last = Number.POSITIVE_INFINITY;
    for (let cosine = 0.99; cosine > -1; cosine -= 0.01) {
      const { value } = referenceTarget(loss, cosine);
      expect(value).toBeLessThan(last);
      last = value;
    }
  });
});
