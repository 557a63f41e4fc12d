import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tarAtFar, trialScoresFrom } from '../../lib/verification/index.js';
import { anyScores, operatingPoints } from './reference.js';

const of = (genuine: number[], impostor: number[]) =>
  trialScoresFrom(Float64Array.from(genuine), Float64Array.from(impostor));

describe('tarAtFar', () => {
  it('takes the best threshold within the rate', () => {
    const scores = of([0.9, 0.7, 0.4, 0.2], [0.8, 0.5, 0.3, 0.1]);
    expect(tarAtFar(scores, [0.25, 0.5, 0.75, 1])).toEqual([
      { far: 0.25, tar: 0.5, threshold: 0.7, falseAccepts: 1 },
      { far: 0.5, tar: 0.75, threshold: 0.4, falseAccepts: 2 },
      { far: 0.75, tar: 1, threshold: 0.2, falseAccepts: 3 },
      { far: 1, tar: 1, threshold: 0.2, falseAccepts: 3 },
    ]);
  });

  it('says that there are too few impostor pairs instead of a number', () => {
    const impostor = Array.from({ length: 1000 }, (_, i) => -i / 1000);
    expect(tarAtFar(of([0.5], impostor))).toEqual([
      { far: 1e-1, tar: 1, threshold: 0.5, falseAccepts: 0 },
      { far: 1e-2, tar: 1, threshold: 0.5, falseAccepts: 0 },
      { far: 1e-3, tar: 1, threshold: 0.5, falseAccepts: 0 },
      { far: 1e-4, tar: null, reason: 'too few impostor pairs' },
      { far: 1e-5, tar: null, reason: 'too few impostor pairs' },
      { far: 1e-6, tar: null, reason: 'too few impostor pairs' },
    ]);
  });

  it('counts k of n impostors as a rate of exactly k/n', () => {
    // 0.29 · 100 is 28.999999999999996 in floating point.
    const impostor = Array.from({ length: 100 }, (_, i) => 1 - i / 100);
    const [entry] = tarAtFar(of([0.72], impostor), [0.29]);
    expect(entry).toMatchObject({ tar: 1, falseAccepts: 29 });
  });

  it('accepts nothing when the first tie is already too much', () => {
    const scores = of([0.5, 0.5], [0.5, 0.5, 0.1, 0]);
    expect(tarAtFar(scores, [0.25])).toEqual([
      {
        far: 0.25,
        tar: 0,
        threshold: Number.POSITIVE_INFINITY,
        falseAccepts: 0,
      },
    ]);
  });

  it('agrees with a search over all operating points', () => {
    const rates = [1, 0.5, 0.3, 0.1, 0.05];
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const points = operatingPoints(genuine, impostor);
        for (const entry of tarAtFar(of(genuine, impostor), rates)) {
          if (entry.tar === null) {
            expect(1 / impostor.length).toBeGreaterThan(entry.far);
            continue;
          }
          const within = points.filter(({ far }) => far <= entry.far);
          const best = Math.min(...within.map(({ frr }) => frr));
          const first = within.find(({ frr }) => frr === best)!;
          expect(entry.tar).toBeCloseTo(1 - best, 12);
          expect(entry.threshold + 0).toBe(first.threshold + 0);
          expect(entry.falseAccepts / impostor.length).toBe(first.far);
        }
      }),
    );
  });

  it('never falls as the rate grows', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const rates = [0.05, 0.1, 0.2, 0.5, 0.9, 1];
        const values = tarAtFar(of(genuine, impostor), rates).map(
          ({ tar }) => tar ?? 0,
        );
        expect(values).toEqual([...values].sort((a, b) => a - b));
        expect(values.at(-1)).toBe(1);
      }),
    );
  });

  it.each([0, -0.1, 1.1, Number.NaN, '0.1'])('refuses a rate of %s', (rate) => {
    expect(() => tarAtFar(of([1], [0]), [0.1, rate as number])).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining('tarAtFar: expected far[1] to be'),
      }),
    );
  });

  it('refuses a single rate and missing kinds', () => {
    expect(() => tarAtFar(of([1], [0]), 0.1 as never)).toThrow(
      'tarAtFar: expected far to be an array of rates',
    );
    expect(() => tarAtFar(of([1], []))).toThrow('scores.impostorPairs');
    expect(() => tarAtFar(of([], [1]))).toThrow('scores.genuinePairs');
  });
});
