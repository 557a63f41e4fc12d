import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { entmaxSync, sparseEntmaxSync, tensor } from '../lib/index.js';
import {
  anyMeasure,
  anyOrder,
  anyTensor,
  quick,
  rowsOf,
} from './helpers/arbitraries.js';
import { contract, largestDifference } from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { permutation } from './helpers/random.js';
import { referencePosterior } from './helpers/reference.js';

/** Logits with a measure for each class. */
const measured = anyTensor(4, 40, 12).chain((logits) =>
  fc.record({
    logits: fc.constant(logits),
    reference: fc.option(anyMeasure(logits.dims[1]!)),
  }),
);

describe('entmax', () => {
  test.prop([measured, anyOrder], quick)(
    'is the posterior of the float64 reference, and sums to 1',
    ({ logits, reference }, alpha) => {
      const received = rowsOf(entmaxSync(logits, { alpha, reference }));
      rowsOf(logits).forEach((theta, i) => {
        const p = received[i]!;
        const q = reference === null ? undefined : [...reference];
        const expected = referencePosterior(theta, alpha, q).posterior;
        expect(largestDifference(p, expected)).toBeLessThanOrEqual(
          contract.posterior,
        );
        expect(p.every((value) => value >= 0)).toBe(true);
        const total = p.reduce((sum, value) => sum + value, 0);
        expect(Math.abs(total - 1)).toBeLessThanOrEqual(contract.posterior);
        expected.forEach((value, j) => {
          if (value > contract.supportAbove) expect(p[j]).toBeGreaterThan(0);
          if (value === 0) {
            expect(p[j]).toBeLessThanOrEqual(contract.supportAbove);
          }
        });
      });
    },
  );

  test.prop([measured, anyOrder], quick)(
    'keeps exactly the positive entries in its sparse form',
    ({ logits, reference }, alpha) => {
      const dense = entmaxSync(logits, { alpha, reference });
      const sparse = sparseEntmaxSync(logits, { alpha, reference });
      const expected = rowsOf(dense).map((row) =>
        row.flatMap((p, j) => (p > 0 ? [[j, p]] : [])),
      );
      const received = expected.map((_, i) => {
        const entries: number[][] = [];
        for (
          let e = sparse.rowOffsets[i]!;
          e < sparse.rowOffsets[i + 1]!;
          e += 1
        ) {
          entries.push([sparse.columns[e]!, sparse.values[e]!]);
        }
        return entries;
      });
      expect(received).toEqual(expected);
      expect(sparse.dims).toEqual(dense.dims);
      expect(sparse.rowOffsets[expected.length]).toBe(sparse.values.length);
    },
  );

  // Multiples of 1/64 and a whole shift: the shifted logits are exact in float32.
  const shifted = fc.record({
    steps: fc.array(fc.integer({ min: -512, max: 512 }), {
      minLength: 1,
      maxLength: 30,
    }),
    shift: fc.integer({ min: -1000, max: 1000 }),
  });
  test.prop([shifted, anyOrder], quick)(
    'does not change when all logits shift together',
    ({ steps, shift }, alpha) => {
      const dims = [1, steps.length];
      const at = (by: number) =>
        entmaxSync(
          tensor(
            Float32Array.from(steps, (step) => step / 64 + by),
            dims,
          ),
          { alpha },
        ).data;
      // Bits for a finite order; softmax takes exponentials of the unshifted numbers.
      expect(largestDifference(at(shift), at(0))).toBeLessThanOrEqual(
        alpha === 1 ? contract.posterior : 0,
      );
    },
  );

  test.prop([anyTensor(1, 40, 12), anyOrder, fc.nat()], quick)(
    'permutes with its classes',
    (logits, alpha, seed) => {
      const order = permutation(logits.data.length, seed);
      const permuted = tensor(
        Float32Array.from(order, (j) => logits.data[j]!),
        logits.dims,
      );
      const p = entmaxSync(logits, { alpha }).data;
      const received = entmaxSync(permuted, { alpha }).data;
      expect(
        largestDifference(
          received,
          Float32Array.from(order, (j) => p[j]!),
        ),
      ).toBeLessThanOrEqual(contract.posterior);
    },
  );

  test.prop([anyTensor(1, 30, 12)], quick)(
    'converges to softmax as α → 1, with the first-order error',
    (logits) => {
      const softmax = entmaxSync(logits, { alpha: 1 }).data;
      // Δp = (α−1)/2·p·(⟨x²⟩ − x²) + …, x = θ − τ = log p, ⟨⟩ the mean under p.
      const squares = softmax.map((p) => (p > 0 ? Math.log(p) ** 2 : 0));
      const mean = softmax.reduce((sum, p, j) => sum + p * squares[j]!, 0);
      const slope = Math.max(
        ...softmax.map((p, j) => (p * (mean + squares[j]!)) / 2),
      );
      // Rounding; and on a device e^x is off by 3e-7 of itself (native/cuda/short_exp.cuh), which moves
      // p by 2·3e-7·p·(1 − p) at most.
      const rounding = 1.2e-7 + (onDevice ? 1.5e-7 : 0);
      for (const excess of [1e-3, 1e-5, 1e-7, 1e-8, 1e-10]) {
        const near = entmaxSync(logits, { alpha: 1 + excess }).data;
        expect(largestDifference(near, softmax)).toBeLessThanOrEqual(
          1.1 * excess * slope + rounding,
        );
      }
    },
  );

  const scaled = fc.record({
    logits: anyTensor(1, 20, 4),
    exponent: fc.integer({ min: -4, max: 4 }),
    alpha: fc.constantFrom(1, 1.25, 1.5, 2, 3),
  });
  test.prop([scaled], quick)(
    'obeys the scaling law: (θ, a·q) is (a^{α−1}θ, q)',
    ({ logits, exponent, alpha }) => {
      const count = logits.data.length;
      // a^{α−1} is a power of two, so that both sides have exact inputs.
      const a = 2 ** (4 * exponent);
      const factor = 2 ** (4 * exponent * (alpha - 1));
      const left = entmaxSync(logits, {
        alpha,
        reference: new Float32Array(count).fill(a),
      });
      const right = entmaxSync(
        tensor(
          logits.data.map((theta) => factor * theta),
          [1, count],
        ),
        { alpha },
      );
      expect(largestDifference(left.data, right.data)).toBeLessThanOrEqual(
        contract.posterior,
      );
    },
  );

  test.prop([anyTensor(1, 30, 8), anyTensor(1, 10, 8), anyOrder], quick)(
    'gives no class more when classes are added',
    (logits, added, alpha) => {
      const all = [...logits.data, ...added.data];
      const before = entmaxSync(logits, { alpha }).data;
      const after = entmaxSync(
        tensor(Float32Array.from(all), [1, all.length]),
        { alpha },
      ).data;
      before.forEach((p, j) => {
        expect(after[j]).toBeLessThanOrEqual(p + contract.posterior);
      });
    },
  );
});
