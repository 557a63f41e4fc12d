import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { roc, trialScoresFrom } from '../../lib/verification/index.js';
import { anyScores, operatingPoints } from './reference.js';

const of = (genuine: number[], impostor: number[]) =>
  trialScoresFrom(Float64Array.from(genuine), Float64Array.from(impostor));

describe('roc', () => {
  it('moves ties together', () => {
    const curve = roc(of([0.9, 0.5], [0.5, 0.1]));
    expect([...curve.thresholds]).toEqual([
      Number.POSITIVE_INFINITY,
      0.9,
      0.5,
      0.1,
    ]);
    expect([...curve.far]).toEqual([0, 0, 0.5, 1]);
    expect([...curve.tar]).toEqual([0, 0.5, 1, 1]);
  });

  it('has two points when all scores are equal', () => {
    const curve = roc(of([0.3, 0.3], [0.3, 0.3, 0.3]));
    expect([...curve.far]).toEqual([0, 1]);
    expect([...curve.tar]).toEqual([0, 1]);
  });

  it('agrees with counting at every threshold', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const curve = roc(of(genuine, impostor));
        const expected = operatingPoints(genuine, impostor);
        expect(curve.far.length).toBe(expected.length);
        expected.forEach((point, index) => {
          expect(curve.far[index]).toBe(point.far);
          expect(curve.tar[index]).toBeCloseTo(1 - point.frr, 12);
        });
      }),
    );
  });

  it('never falls, and ends at 1', () => {
    fc.assert(
      fc.property(anyScores, anyScores, (genuine, impostor) => {
        const { far, tar, thresholds } = roc(of(genuine, impostor));
        for (let index = 1; index < far.length; index += 1) {
          expect(far[index]!).toBeGreaterThanOrEqual(far[index - 1]!);
          expect(tar[index]!).toBeGreaterThanOrEqual(tar[index - 1]!);
          expect(thresholds[index]!).toBeLessThan(thresholds[index - 1]!);
        }
        expect(far.at(-1)).toBe(1);
        expect(tar.at(-1)).toBe(1);
      }),
    );
  });

  it.each([
    ['genuinePairs', [], [0.1]],
    ['impostorPairs', [0.1], []],
  ])('needs %s', (kind, genuine, impostor) => {
    expect(() => roc(of(genuine, impostor))).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: `roc: expected scores.${kind} to be at least 1 but received 0`,
      }),
    );
  });

  it.each([undefined, null, {}, [0.5], Float32Array.of(1)])(
    'refuses %s for scores',
    (value) => {
      expect(() => roc(value as never)).toThrow(
        'roc: expected scores to be trial scores',
      );
    },
  );
});
