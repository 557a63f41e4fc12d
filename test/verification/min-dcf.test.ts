import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { minDcf, trialScoresFrom } from '../../lib/verification/index.js';
import { anyScores, operatingPoints } from './reference.js';

const of = (genuine: number[], impostor: number[]) =>
  trialScoresFrom(Float64Array.from(genuine), Float64Array.from(impostor));

describe('minDcf', () => {
  it('weighs misses and false accepts by prior and cost', () => {
    const scores = of([0.9, 0.7, 0.4], [0.5, 0.1, -0.2]);
    // At 0.4: FRR 0, FAR 1/3. At 0.7: FRR 1/3, FAR 0.
    expect(minDcf(scores, { pTarget: 0.05 })).toEqual({
      pTarget: 0.05,
      cost: 1 / 3,
      threshold: 0.7,
    });
    // A miss ten times as dear: 0.4 costs (1/2 · 1/3) / (1/2).
    const dear = minDcf(scores, { pTarget: 0.5, costMiss: 10 });
    expect(dear.cost).toBeCloseTo(1 / 3, 14);
    expect(dear.threshold).toBe(0.4);
  });

  it('defaults to a prior of 0.01 and unit costs', () => {
    const scores = of([0.9, 0.7, 0.4], [0.8, 0.1, -0.2]);
    expect(minDcf(scores)).toEqual(
      minDcf(scores, { pTarget: 0.01, costMiss: 1, costFalseAccept: 1 }),
    );
    expect(minDcf(scores).pTarget).toBe(0.01);
  });

  it('is 0 for perfect separation and exactly 1 for useless scores', () => {
    expect(minDcf(of([0.9], [0.1])).cost).toBe(0);
    expect(minDcf(of([0.1], [0.9]))).toEqual({
      pTarget: 0.01,
      cost: 1,
      threshold: Number.POSITIVE_INFINITY,
    });
    // Accepting everything is the better constant decision here.
    expect(minDcf(of([0.1], [0.9]), { pTarget: 0.97 })).toEqual({
      pTarget: 0.97,
      cost: 1,
      threshold: 0.1,
    });
  });

  it('agrees with a search over all operating points', () => {
    const anyOptions = fc.record({
      pTarget: fc.double({ min: 0.001, max: 0.999, noNaN: true }),
      costMiss: fc.double({ min: 0.1, max: 20, noNaN: true }),
      costFalseAccept: fc.double({ min: 0.1, max: 20, noNaN: true }),
    });
    fc.assert(
      fc.property(anyScores, anyScores, anyOptions, (genuine, impostor, o) => {
        const miss = o.costMiss * o.pTarget;
        const accept = o.costFalseAccept * (1 - o.pTarget);
        const costs = operatingPoints(genuine, impostor).map(
          ({ far, frr }) =>
            (miss * frr + accept * far) / Math.min(miss, accept),
        );
        const { cost } = minDcf(of(genuine, impostor), o);
        expect(cost).toBeCloseTo(Math.min(...costs), 10);
        expect(cost).toBeLessThanOrEqual(1);
        expect(cost).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it.each([
    ['pTarget', 0],
    ['pTarget', 1],
    ['pTarget', Number.NaN],
    ['costMiss', 0],
    ['costMiss', Number.POSITIVE_INFINITY],
    ['costFalseAccept', -1],
  ])('refuses %s of %d', (name, value) => {
    expect(() => minDcf(of([1], [0]), { [name]: value })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(`minDcf: expected ${name} to be`),
      }),
    );
  });

  it('needs both kinds of trials', () => {
    expect(() => minDcf(of([], [1]))).toThrow('scores.genuinePairs');
    expect(() => minDcf(of([1], []))).toThrow('scores.impostorPairs');
  });
});
