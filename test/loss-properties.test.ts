import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { entmaxLossSync, qMarginLossSync, tensor } from '../lib/index.js';
import {
  anyLabelledCosines,
  anyMeasure,
  quick,
  rowsOf,
  usualOrder,
} from './helpers/arbitraries.js';
import { contract, expectLoss, largestDifference } from './helpers/contract.js';
import {
  functionFamilies,
  lossFamilies,
  lossOnCosines,
} from './helpers/losses.js';
import { permutation, reorderRows } from './helpers/random.js';
import { referenceRow } from './helpers/reference.js';

const anyScale = fc.constantFrom(4, 10, 32);
const anyOrder = fc.oneof(fc.constant(1), usualOrder);
const anyCase = anyLabelledCosines(4, 24).chain((batch) =>
  fc.record({
    batch: fc.constant(batch),
    reference: fc.option(anyMeasure(batch.cosines.dims[1]!)),
    alpha: anyOrder,
    scale: anyScale,
  }),
);

describe.each(functionFamilies)('%s', (family) => {
  const make = lossFamilies[family];

  test.prop([anyCase], quick)(
    'is the loss of the float64 reference, with its gradient',
    ({ batch, reference, alpha, scale }) => {
      const { cosines, labels } = batch;
      const loss = make(alpha, scale);
      const result = lossOnCosines(loss, cosines, labels, { reference });
      // An upstream gradient of 1: the gradient of each row's own loss.
      const ones = new Float32Array(labels.length).fill(1);
      const gradient = rowsOf(result.backwardSync(tensor(ones, [ones.length])));
      rowsOf(cosines).forEach((row, i) => {
        const expected = referenceRow(loss, row, labels[i]!, reference);
        expectLoss(result.loss.data[i]!, expected.loss);
        // The slope of an angular margin near c = ±1 multiplies the target's p in it.
        const largest = Math.max(scale, ...expected.gradCosines.map(Math.abs));
        expect(
          largestDifference(gradient[i]!, expected.gradCosines),
        ).toBeLessThanOrEqual(contract.gradientPerScale * largest);
      });
    },
  );

  test.prop([anyCase, fc.nat()], quick)(
    'permutes with its classes',
    ({ batch: { cosines, labels }, alpha, scale }, seed) => {
      const [rows, columns] = cosines.dims as [number, number];
      const order = permutation(columns, seed);
      const permuted = tensor(
        Float32Array.from(
          rowsOf(cosines).flatMap((row) => [...order].map((j) => row[j]!)),
        ),
        [rows, columns],
      );
      const loss = make(alpha, scale);
      const a = lossOnCosines(loss, cosines, labels);
      const b = lossOnCosines(
        loss,
        permuted,
        labels.map((label) => order.indexOf(label)),
      );
      a.loss.data.forEach((value, i) => {
        expectLoss(b.loss.data[i]!, value);
      });
      expect(b.supportSize).toEqual(a.supportSize);
      expect(b.targetActive).toEqual(a.targetActive);
    },
  );

  test.prop([anyCase], quick)(
    'gives a row the same bits alone and among others',
    ({ batch: { cosines, labels }, reference, alpha, scale }) => {
      const loss = make(alpha, scale);
      const together = lossOnCosines(loss, cosines, labels, { reference });
      const ones = (count: number) =>
        tensor(new Float32Array(count).fill(1), [count]);
      const gradients = rowsOf(together.backwardSync(ones(labels.length)));
      labels.forEach((label, i) => {
        const alone = lossOnCosines(
          loss,
          reorderRows(cosines, [i]),
          Int32Array.of(label),
          { reference },
        );
        expect(alone.loss.data[0]).toBe(together.loss.data[i]);
        expect(alone.threshold[0]).toBe(together.threshold[i]);
        expect(alone.supportSize[0]).toBe(together.supportSize[i]);
        expect([...alone.backwardSync(ones(1)).data]).toEqual(gradients[i]);
      });
    },
  );
});

/** A target above or below the zero-loss gap Γ/β by a known part of it. */
const nearGap = fc.record({
  alpha: usualOrder,
  scale: anyScale,
  // Γ must leave room for the gap: (α−1)·s·m ≤ 1.
  exponent: fc.double({ min: 0, max: 1, noNaN: true }),
  others: fc.array(fc.double({ min: -1, max: 0, noNaN: true }), {
    minLength: 1,
    maxLength: 12,
  }),
  part: fc.constantFrom(-0.5, -0.1, -0.01, 0.01, 0.1, 2),
});

test.prop([nearGap], quick)(
  'zero loss and a gradient of exactly 0 iff c_y exceeds all others by Γ/β',
  ({ alpha, scale: anyScale, exponent, others, part }) => {
    // Large enough for the target to stay a cosine.
    const scale = Math.max(
      anyScale,
      (Math.exp(exponent) * (1 + part)) / (alpha - 1),
    );
    const beta = (alpha - 1) * scale;
    const margin = exponent / beta;
    const target =
      Math.max(...others) + (Math.exp(exponent) / beta) * (1 + part);
    const cosines = tensor(Float32Array.from([...others, target]), [
      1,
      others.length + 1,
    ]);
    const label = Int32Array.of(others.length);
    const result = qMarginLossSync(cosines, label, { alpha, scale, margin });
    const gradient = [...result.backwardSync().data];
    if (part > 0) {
      expect(result.loss.data[0]).toBe(0);
      expect(gradient.every((g) => g === 0)).toBe(true);
      expect(result.supportSize[0]).toBe(1);
    } else {
      // A loss of about d^{k+1}, d = Γ·|part|, is below what its float64 sum resolves when tiny.
      if (part <= -0.1 && alpha >= 1.25) {
        expect(result.loss.data[0]).toBeGreaterThan(0);
      }
      expect(gradient.at(-1)).toBeLessThan(0);
      expect(Math.max(...gradient)).toBeGreaterThan(0);
    }
  },
);

test('the zero-loss gap is closed: equality is zero loss', () => {
  // β = 8, m = 0: the gap 1/8 is exact.
  const at = (target: number) =>
    entmaxLossSync(
      tensor(Float32Array.of(0.25, target, -0.5), [1, 3]),
      Int32Array.of(1),
      { alpha: 1.5, scale: 16 },
    );
  const equal = at(0.375);
  expect(equal.loss.data[0]).toBe(0);
  expect([...equal.backwardSync().data].map(Math.abs)).toEqual([0, 0, 0]);
  const below = at(0.375 - 2 ** -12);
  expect(below.loss.data[0]).toBeGreaterThan(0);
  expect(below.backwardSync().data[0]).toBeGreaterThan(0);
});

test.prop([anyCase, fc.integer({ min: -2, max: 2 })], quick)(
  'obeys the scaling law of q: ℓ(θ; a·q) = a^{1−α} ℓ(a^{α−1}θ; q)',
  ({ batch: { cosines, labels }, scale }, exponent) => {
    const columns = cosines.dims[1]!;
    for (const alpha of [1.25, 1.5, 2]) {
      const a = 2 ** (4 * exponent);
      const factor = 2 ** (4 * exponent * (alpha - 1));
      const left = entmaxLossSync(cosines, labels, {
        alpha,
        scale,
        reference: new Float32Array(columns).fill(a),
      }).loss.data;
      const right = entmaxLossSync(cosines, labels, {
        alpha,
        scale: factor * scale,
      }).loss.data;
      left.forEach((value, i) => {
        const expected = right[i]! / factor;
        // Both sides are float32, the right one's error is divided by the factor.
        expect(Math.abs(value - expected)).toBeLessThanOrEqual(
          2e-6 * (1 + expected) * Math.max(1, 1 / factor),
        );
      });
    }
  },
);

test.prop(
  [anyLabelledCosines(1, 12), anyLabelledCosines(1, 6), anyOrder],
  quick,
)(
  'raises the threshold when classes are added',
  ({ cosines, labels }, added, alpha) => {
    const all = [...cosines.data, ...added.cosines.data];
    const options = { alpha, scale: 8 };
    const before = entmaxLossSync(cosines, labels, options);
    const after = entmaxLossSync(
      tensor(Float32Array.from(all), [1, all.length]),
      labels,
      options,
    );
    const [low, high] = [before.threshold[0]!, after.threshold[0]!];
    expect(high).toBeGreaterThanOrEqual(low);
    // It grows with the mass of the added classes, and stays exactly when they are outside.
    const gradient = after.backwardSync().data.subarray(cosines.data.length);
    if (gradient.some((g) => g > 8e-3)) expect(high).toBeGreaterThan(low);
    const best = 8 * Math.max(...added.cosines.data);
    const edge = alpha === 1 ? Number.NEGATIVE_INFINITY : low - 1 / (alpha - 1);
    if (best < edge - 1e-5) expect(high).toBe(low);
  },
);
