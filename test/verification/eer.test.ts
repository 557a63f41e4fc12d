import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eer, trialScoresFrom } from '../../lib/verification/index.js';
import {
  anyScores,
  equalErrorRate,
  operatingPoints,
  tiedScores,
} from './reference.js';

const of = (genuine: number[], impostor: number[]) =>
  trialScoresFrom(Float64Array.from(genuine), Float64Array.from(impostor));

describe('eer', () => {
  it.each([
    // Points (FAR, FRR): (0, 1) (0, 2/3) (0, 1/3) (1/3, 1/3): the rates meet.
    [[0.9, 0.7, 0.4], [0.5, 0.1, -0.2], 1 / 3, 0.5],
    // (0, 1) (0, 1/2) (1, 1/2) (1, 0): crossed at FRR 1/2, half way along FAR.
    [[0.9, 0.1], [0.5], 0.5, 0.5],
    // A tie of one genuine with one impostor score: (0, 1/2) to (1/2, 0).
    [[0.9, 0.5], [0.5, 0.1], 0.25, 0.5],
    [[0.9], [0.1], 0, 0.9],
    [[0.1], [0.9], 1, 0.9],
    [[0.5], [0.5], 0.5, 0.5],
    [[2, 2, 2], [2, 2], 0.5, 2],
  ])('of %j and %j is %d at %d', (genuine, impostor, rate, threshold) => {
    const result = eer(of(genuine, impostor));
    expect(result.rate).toBeCloseTo(rate, 14);
    expect(result.threshold).toBe(threshold);
  });

  it('agrees with the crossing found by counting', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        expect(eer(of(genuine, impostor)).rate).toBeCloseTo(
          equalErrorRate(operatingPoints(genuine, impostor)),
          12,
        );
      }),
    );
  });

  it('names the threshold whose rates differ least', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const { threshold } = eer(of(genuine, impostor));
        const points = operatingPoints(genuine, impostor);
        const gap = ({ far, frr }: { far: number; frr: number }) =>
          Math.abs(far - frr);
        const chosen = points.find((point) => point.threshold === threshold)!;
        const least = Math.min(...points.map(gap));
        expect(gap(chosen)).toBeCloseTo(least, 12);
      }),
    );
  });

  it('is the same with all scores negated and the kinds exchanged', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const negate = (scores: number[]) => scores.map((score) => -score);
        expect(eer(of(negate(impostor), negate(genuine))).rate).toBeCloseTo(
          eer(of(genuine, impostor)).rate,
          12,
        );
      }),
    );
  });

  it('becomes 1 − EER when only the kinds are exchanged, without ties', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer(), { minLength: 2, maxLength: 40 }),
        fc.nat(),
        (scores, cut) => {
          const split = 1 + (cut % (scores.length - 1));
          const a = scores.slice(0, split);
          const b = scores.slice(split);
          expect(eer(of(a, b)).rate + eer(of(b, a)).rate).toBeCloseTo(1, 12);
        },
      ),
    );
  });

  it('does not change under an increasing map of the scores', () => {
    fc.assert(
      fc.property(tiedScores, tiedScores, (genuine, impostor) => {
        // Exact in floating point, so that ties stay ties.
        const raise = (scores: number[]) =>
          scores.map((score) => 8 * score ** 3 + 1);
        expect(eer(of(raise(genuine), raise(impostor))).rate).toBeCloseTo(
          eer(of(genuine, impostor)).rate,
          12,
        );
      }),
    );
  });

  it('needs both kinds of trials', () => {
    expect(() => eer(of([], [1]))).toThrow(
      'eer: expected scores.genuinePairs to be at least 1 but received 0',
    );
    expect(() => eer(of([1], []))).toThrow(
      'eer: expected scores.impostorPairs to be at least 1 but received 0',
    );
  });
});
