import { expect, test } from 'vitest';
import { tarAtFar, trialScoresFrom } from '../../lib/verification/index.js';
import {
  CHOOSABLE_RATES,
  operatingPoints,
} from '../../lib/verification/operating-points.js';
import { normal } from './reference.js';

const next = normal(21);
const genuine = Float32Array.from({ length: 300 }, () => 2 + next());
const impostor = Float32Array.from({ length: 40_000 }, next);
const scores = trialScoresFrom(genuine, impostor);

test('the rates that can be chosen are the decimals they read as', () => {
  expect(CHOOSABLE_RATES).toHaveLength(50);
  expect(CHOOSABLE_RATES.slice(0, 3)).toEqual([1e-6, 2e-6, 3e-6]);
  expect(CHOOSABLE_RATES.at(-1)).toBe(0.5);
});

test('a copied threshold accepts exactly the trials that were counted', () => {
  const points = operatingPoints(scores, CHOOSABLE_RATES);
  const expected = tarAtFar(scores, CHOOSABLE_RATES);
  points.forEach((point, index) => {
    const { far, tar } = expected[index]!;
    if (point === null) {
      expect(tar).toBeNull();
      return;
    }
    const accepted = (pairs: Float32Array) =>
      pairs.filter((score) => score >= point.threshold).length;
    expect(accepted(genuine) / 300).toBe(tar);
    expect(accepted(impostor)).toBe(point.falseAccepts);
    expect(point.falseAcceptsPerMillion).toBe(25 * point.falseAccepts);
    expect(point.falseAcceptsPerMillion).toBeLessThanOrEqual(far * 1e6);
  });
  expect(points.filter((point) => point === null)).toHaveLength(9 + 2);
});

test('thresholds are short where the scores leave room, and never too short', () => {
  const at = (kinds: [number[], number[]]) => {
    const [genuine, impostor] = kinds.map((list) => Float64Array.from(list));
    return operatingPoints(trialScoresFrom(genuine!, impostor!), [0.5])[0]!
      .threshold;
  };
  expect(at([[0.123456789], [0.1, -0.1]])).toBe(0.1234);
  expect(at([[0.123456789], [0.1234, 0.12]])).toBe(0.12345);
  expect(at([[0.70000001], [0.7, 0.6]])).toBe(0.70000001);
  expect(at([[-0.123456789], [-0.2, -0.3]])).toBe(-0.1235);
  const tiny = at([[-1e-9], [0.5, -2e-9]]);
  expect(tiny <= -1e-9 && tiny > -2e-9).toBe(true);
  expect(at([[-5], [1, 1]])).toBe(Number.POSITIVE_INFINITY);
});
