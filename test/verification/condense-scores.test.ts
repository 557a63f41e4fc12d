import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { condenseScores } from '../../lib/verification/condense-scores.js';
import {
  roc,
  summarize,
  type TrialScores,
  trialScoresFrom,
} from '../../lib/verification/index.js';
import {
  CHOOSABLE_RATES,
  operatingPoints,
} from '../../lib/verification/operating-points.js';
import { normal } from './reference.js';

/** What a reader of condensed scores must find unchanged. */
const readings = (scores: TrialScores) => ({
  summary: summarize(scores),
  points: operatingPoints(scores, CHOOSABLE_RATES),
});

test('a large set shrinks to a few thousand thresholds that read the same', () => {
  const next = normal(31);
  const scores = trialScoresFrom(
    Float32Array.from({ length: 20_000 }, () => 3 + next()),
    Float32Array.from({ length: 500_000 }, next),
  );
  const condensed = condenseScores(scores);
  expect(scores.thresholds.length).toBeGreaterThan(400_000);
  expect(condensed.thresholds.length).toBeLessThan(4000);
  expect(readings(condensed)).toEqual(readings(scores));
  // In between, neighbours lie closer than a plot shows.
  const { far, tar } = roc(condensed);
  for (let point = 1; point < far.length; point += 1) {
    const few = 60 / 500_000;
    expect(far[point]! - far[point - 1]!).toBeLessThan(
      Math.max(few, 0.03 * far[point]!),
    );
    expect(tar[point]! - tar[point - 1]!).toBeLessThan(0.01);
  }
});

const list = fc
  .array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 60 })
  .map((scores) => Float64Array.from(scores, (score) => score / 16));

property.prop([list, list])('any scores read the same', (genuine, impostor) => {
  const scores = trialScoresFrom(genuine, impostor);
  const condensed = condenseScores(scores);
  expect(readings(condensed)).toEqual(readings(scores));
  const pairs = (counts: Float64Array) => counts.reduce((a, b) => a + b, 0);
  expect(pairs(condensed.genuineCounts)).toBe(genuine.length);
  expect(pairs(condensed.impostorCounts)).toBe(impostor.length);
});
