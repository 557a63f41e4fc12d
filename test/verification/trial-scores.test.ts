import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scoresFromHistograms } from '../../lib/verification/histogram-scores.js';
import { trialScoresFrom } from '../../lib/verification/index.js';
import { anyScores, expand } from './reference.js';

describe('trialScoresFrom', () => {
  it('counts equal scores of both kinds at one threshold', () => {
    const scores = trialScoresFrom(
      Float32Array.of(0.5, 0.75, 0.5),
      Float32Array.of(0.25, 0.5, 0.25, -1),
    );
    expect(scores).toEqual({
      genuinePairs: 3,
      impostorPairs: 4,
      resolution: 0,
      thresholds: Float64Array.of(0.75, 0.5, 0.25, -1),
      genuineCounts: Float64Array.of(1, 2, 0, 0),
      impostorCounts: Float64Array.of(0, 1, 2, 1),
    });
  });

  it('leaves its arguments as they were', () => {
    const genuine = Float32Array.of(1, 3, 2);
    const impostor = Float64Array.of(0, -3, 1);
    trialScoresFrom(genuine, impostor);
    expect([...genuine]).toEqual([1, 3, 2]);
    expect([...impostor]).toEqual([0, -3, 1]);
  });

  it('takes −0 and 0 for one score', () => {
    const scores = trialScoresFrom(Float32Array.of(-0), Float32Array.of(0));
    expect([...scores.thresholds]).toEqual([0]);
    expect([...scores.genuineCounts, ...scores.impostorCounts]).toEqual([1, 1]);
  });

  it('holds exactly the scores it was given', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const scores = trialScoresFrom(
          Float64Array.from(genuine),
          Float64Array.from(impostor),
        );
        const descending = (values: number[]) =>
          // Adding 0 turns −0, which toEqual tells apart, into 0.
          values.map((value) => value + 0).sort((a, b) => b - a);
        expect(expand(scores, 'genuineCounts')).toEqual(descending(genuine));
        expect(expand(scores, 'impostorCounts')).toEqual(descending(impostor));
        expect(new Set(scores.thresholds).size).toBe(scores.thresholds.length);
      }),
    );
  });

  it('accepts empty sets', () => {
    const scores = trialScoresFrom(new Float32Array(0), new Float32Array(0));
    expect(scores.thresholds.length).toBe(0);
    expect(scores.genuinePairs + scores.impostorPairs).toBe(0);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuses a score of %s and names it',
    (bad) => {
      expect(() =>
        trialScoresFrom(Float32Array.of(1), Float32Array.of(0, bad)),
      ).toThrow(
        expect.objectContaining({
          code: 'ERR_NON_FINITE',
          message: `trialScoresFrom: expected impostor[1] to be a finite score but received ${bad}`,
        }),
      );
    },
  );

  it('refuses other arrays', () => {
    expect(() =>
      trialScoresFrom([0.5] as unknown as Float32Array, Float32Array.of(0)),
    ).toThrow(
      'trialScoresFrom: expected genuine to be a Float32Array or a Float64Array',
    );
  });
});

describe('scoresFromHistograms', () => {
  it('gives each non-empty bin its lower edge, from the top down', () => {
    const scores = scoresFromHistograms(
      Float64Array.of(0, 0, 1, 3),
      Float64Array.of(5, 0, 2, 0),
    );
    expect(scores).toEqual({
      genuinePairs: 4,
      impostorPairs: 7,
      resolution: 0.5,
      thresholds: Float64Array.of(0.5, 0, -1),
      genuineCounts: Float64Array.of(3, 1, 0),
      impostorCounts: Float64Array.of(0, 2, 5),
    });
  });

  it('keeps counts beyond 32 bits', () => {
    const scores = scoresFromHistograms(
      Float64Array.of(0, 3e9),
      Float64Array.of(5e9, 1),
    );
    expect(scores.genuinePairs).toBe(3e9);
    expect(scores.impostorPairs).toBe(5e9 + 1);
  });
});
