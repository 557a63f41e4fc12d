import { expect, test } from 'vitest';
import { RandomStream } from '../lib/random.js';

function draw(key: number[], count: number): number[] {
  const stream = new RandomStream(...key);
  return Array.from({ length: count }, () => stream.nextUint32());
}

test('a stream follows from its key alone', () => {
  expect(draw([7, 1, 3], 20)).toEqual(draw([7, 1, 3], 20));
});

test('the numbers of a seed never change between versions', () => {
  expect(draw([0], 3)).toMatchInlineSnapshot(`
    [
      1101226675,
      1371718621,
      1970046312,
    ]
  `);
  expect(draw([2 ** 53 - 1, 2, 1], 3)).toMatchInlineSnapshot(`
    [
      2495985807,
      3359568719,
      2790132712,
    ]
  `);
});

test('neighbouring keys give unrelated streams', () => {
  const keys = [[0], [1], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 32 + 1], []];
  const seen = new Set(keys.flatMap((key) => draw(key, 100)));
  // 800 words of 32 bits collide with probability 7e-5.
  expect(seen.size).toBe(keys.length * 100);
});

test('uniform numbers fill (0, 1) evenly', () => {
  const stream = new RandomStream(5);
  const bins = new Array(10).fill(0);
  for (let index = 0; index < 1e5; index += 1) {
    const value = stream.nextUniform();
    // 0 and 1 would count in no bin.
    if (value > 0 && value < 1) bins[Math.floor(value * 10)] += 1;
  }
  for (const count of bins) expect(Math.abs(count - 1e4)).toBeLessThan(500);
});

test('Gaussian numbers have the moments of their σ, and odd lengths work', () => {
  const values = new Float32Array(200_001).fill(3);
  new RandomStream(11, 2).addGaussian(values, 0.5);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const moment = (power: number) =>
    values.reduce((sum, value) => sum + (value - mean) ** power, 0) /
    values.length;
  expect(mean).toBeCloseTo(3, 2);
  expect(Math.sqrt(moment(2))).toBeCloseTo(0.5, 2);
  expect(moment(4) / moment(2) ** 2).toBeCloseTo(3, 1);
  const empty = new Float32Array(0);
  new RandomStream(11).addGaussian(empty, 1);
});

test('a shuffle is a permutation and every place is as likely', () => {
  const counts = new Array(6).fill(0);
  for (let trial = 0; trial < 6000; trial += 1) {
    const values = Int32Array.of(0, 1, 2, 3, 4, 5);
    new RandomStream(trial).shuffle(values);
    if (trial < 20) expect([...values].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    counts[values.indexOf(0)] += 1;
  }
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
});
