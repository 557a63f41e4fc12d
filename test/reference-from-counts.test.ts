import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  AlphaMarginError,
  type CountsLike,
  cosFaceLossSync,
  PrototypeHead,
  qMarginLossSync,
  type ReferenceFromCountsOptions,
  referenceFromCounts,
  sgd,
  tensor,
} from '../lib/index.js';
import { quick, rowsOf, usualOrder } from './helpers/arbitraries.js';
import { expectLoss, largestDifference } from './helpers/contract.js';
import { lossFamilies } from './helpers/losses.js';
import { normalTensor, randomLabels } from './helpers/random.js';

const anyCounts = fc.array(fc.integer({ min: 1, max: 1000 }), {
  minLength: 1,
  maxLength: 24,
});
const anyExponent = fc.constantFrom(0, 0.25, 0.5, 1, 1.5);

/** The cross-entropy of softmax(θ + τ·log n), in float64. */
function adjustedCrossEntropy(
  theta: number[],
  counts: number[],
  exponent: number,
  label: number,
): number {
  const logits = theta.map((t, j) => t + exponent * Math.log(counts[j]!));
  const largest = Math.max(...logits);
  const total = logits.reduce((sum, z) => sum + Math.exp(z - largest), 0);
  return largest + Math.log(total) - logits[label]!;
}

test.prop([anyCounts, anyExponent, fc.nat()], quick)(
  'α = 1 is the logit-adjusted cross-entropy',
  (counts, exponent, seed) => {
    const classes = counts.length;
    const { data } = normalTensor(3, classes, seed, 0.3);
    const cosines = tensor(
      data.map((c) => Math.max(-1, Math.min(1, c))),
      [3, classes],
    );
    const labels = randomLabels(3, classes, seed);
    const reference = referenceFromCounts(counts, { alpha: 1, exponent });
    const options = { scale: 16, margin: 0.25, reference };
    const { loss } = cosFaceLossSync(cosines, labels, options);
    rowsOf(cosines).forEach((row, i) => {
      const label = labels[i]!;
      const theta = row.map((c, j) => 16 * (j === label ? c - 0.25 : c));
      expectLoss(
        loss.data[i]!,
        adjustedCrossEntropy(theta, counts, exponent, label),
      );
    });
  },
);

test.prop(
  [anyCounts, fc.oneof(fc.constant(1), usualOrder), anyExponent],
  quick,
)('is n^τ with a mean temperature of 1', (counts, alpha, exponent) => {
  const q = [...referenceFromCounts(counts, { alpha, exponent }).data];
  q.forEach((value, j) => {
    const ratio = (counts[j]! / counts[0]!) ** exponent;
    expect(value / q[0]! / ratio).toBeCloseTo(1, 5);
  });
  const mean =
    alpha === 1
      ? Math.exp(q.reduce((sum, value) => sum + Math.log(value), 0) / q.length)
      : q.reduce((sum, value) => sum + value ** (alpha - 1), 0) / q.length;
  expect(mean).toBeCloseTo(1, 5);
});

test.prop([anyCounts, usualOrder, fc.constantFrom(0.125, 3, 1024)], quick)(
  'does not depend on the unit of the counts',
  (counts, alpha, unit) => {
    const a = referenceFromCounts(counts, { alpha }).data;
    const b = referenceFromCounts(
      counts.map((n) => n * unit),
      { alpha },
    ).data;
    a.forEach((value, j) => {
      expect(Math.abs(b[j]! - value)).toBeLessThanOrEqual(2e-7 * value);
    });
  },
);

test.prop([anyCounts], quick)('goes over into that of α = 1', (counts) => {
  const limit = referenceFromCounts(counts, { alpha: 1 }).data;
  for (const alpha of [1 + 1e-12, 1 + 1e-7]) {
    const near = referenceFromCounts(counts, { alpha }).data;
    near.forEach((value, j) => {
      expect(value / limit[j]!).toBeCloseTo(1, 4);
    });
  }
});

describe.each([1, 1.25, 1.5, 2, 3])('α %d', (alpha) => {
  it('equal counts change nothing', () => {
    const q = referenceFromCounts(new Int32Array(19).fill(7), { alpha });
    expect([...q.data]).toEqual(Array.from({ length: 19 }, () => 1));
    expect(q.dims).toEqual([19]);
  });

  it('a class without samples counts as the rarest with some', () => {
    const options = { alpha, exponent: 0.5 };
    expect(referenceFromCounts([0, 4, 9, 0], options)).toEqual(
      referenceFromCounts([4, 4, 9, 4], options),
    );
  });

  it('the gap of zero loss is q_y^(1−α)·Γ/β', () => {
    if (alpha === 1) return;
    const [scale, margin] = [40 / (alpha - 1), 0.01];
    const { data } = referenceFromCounts([1, 2, 3], { alpha, exponent: 0.1 });
    const beta = (alpha - 1) * scale;
    const gap = (data[0]! ** (1 - alpha) * Math.exp(beta * margin)) / beta;
    const lossAt = (lead: number) =>
      qMarginLossSync(
        tensor(Float32Array.of(lead - 0.5, -0.5, -0.5), [1, 3]),
        [0],
        { alpha, scale, margin, reference: data },
      ).loss.data[0];
    expect(lossAt(gap * 1.001)).toBe(0);
    expect(lossAt(gap * 0.8)).toBeGreaterThan(0);
  });
});

it('goes through a head as any reference does', async () => {
  const counts = Float64Array.from({ length: 111 }, (_, j) => 1 / (j + 1));
  const reference = referenceFromCounts(counts, { alpha: 1.25, exponent: 0.5 });
  using head = new PrototypeHead({
    identities: 111,
    dim: 7,
    loss: lossFamilies.qMargin(1.25, 16),
    optimizer: sgd(),
    reference,
  });
  const x = normalTensor(5, 7, 3);
  const y = randomLabels(5, 111, 4);
  const { losses } = head.evaluateSync(x, y);
  using other = new PrototypeHead({
    identities: 111,
    dim: 7,
    loss: lossFamilies.qMargin(1.25, 16),
    optimizer: sgd(),
    prototypes: await head.prototypes(),
    reference: reference.data,
  });
  expect(other.evaluateSync(x, y).losses).toEqual(losses);
  const uniform = referenceFromCounts(counts, { alpha: 1.25, exponent: 0 });
  expect(largestDifference(uniform.data, new Float32Array(111).fill(1))).toBe(
    0,
  );
});

describe('refuses', () => {
  const wrong = (value: unknown) => value as CountsLike;
  const calls: [string, CountsLike, ReferenceFromCountsOptions, RegExp][] = [
    ['no counts', [], { alpha: 1 }, /counts/],
    ['counts that are none', wrong('12'), { alpha: 1 }, /counts/],
    ['a negative count', [1, -1], { alpha: 1 }, /counts\[1\].*-1/],
    ['NaN', [Number.NaN, 1], { alpha: 1 }, /counts\[0\]/],
    ['an infinity', [1, 1 / 0], { alpha: 1 }, /counts\[1\]/],
    ['no samples at all', [0, 0], { alpha: 1 }, /above 0/],
    ['α below 1', [1, 2], { alpha: 0.5 }, /alpha.*0\.5/],
    ['a negative exponent', [1, 2], { alpha: 1, exponent: -1 }, /exponent/],
    [
      'measures beyond float32',
      [1, 1e9],
      { alpha: 1, exponent: 20 },
      /float32/,
    ],
    [
      'another option',
      [1],
      { alpha: 1, scale: 2 } as ReferenceFromCountsOptions,
      /scale/,
    ],
  ];
  it.each(calls)('%s', (_, counts, options, message) => {
    expect(() => referenceFromCounts(counts, options)).toThrow(
      AlphaMarginError,
    );
    expect(() => referenceFromCounts(counts, options)).toThrow(message);
  });
});
