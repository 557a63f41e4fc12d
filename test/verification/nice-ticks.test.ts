import { expect, test } from 'vitest';
import {
  logarithmicTicks,
  niceTicks,
} from '../../lib/verification/nice-ticks.js';

const labels = (...args: Parameters<typeof niceTicks>) =>
  niceTicks(...args).map(({ label }) => label);

test('ticks are round, within the ends, and about as many as asked for', () => {
  expect(labels(-0.87, 0.93, 5)).toEqual(['−0.5', '0', '0.5']);
  expect(labels(0, 45, 5)).toEqual(['0', '10', '20', '30', '40']);
  expect(labels(0, 0.3, 3)).toEqual(['0', '0.1', '0.2', '0.3']);
  expect(labels(0, 0.1, 4, { unit: 0.01 })).toEqual(['0', '5', '10']);
});

test('whole numbers stay whole', () => {
  expect(labels(1, 3, 6, { least: 1 })).toEqual(['1', '2', '3']);
  expect(labels(0, 1, 6, { least: 1 })).toEqual(['0', '1']);
});

test('a factor of five holds two logarithmic ticks, wherever it begins', () => {
  for (let low = 1; low < 10; low *= 1.01) {
    expect(logarithmicTicks(low, 5 * low).length).toBeGreaterThanOrEqual(2);
  }
});

test('logarithmic ticks thin out over many decades', () => {
  expect(logarithmicTicks(3, 60)).toEqual([5, 10, 20, 50]);
  expect(logarithmicTicks(0.9, 5e5)).toEqual([1, 10, 100, 1e3, 1e4, 1e5]);
});
