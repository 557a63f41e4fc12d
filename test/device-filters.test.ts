import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type LossSpecification, type Tensor, tensor } from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import {
  emulated,
  filterTiers,
  onDevice,
  withEmulation,
} from './helpers/emulation.js';
import { headOf } from './helpers/heads.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';

/*
 * What a GPU's filter reads, and with which kernels, may change how much it lets through, never a
 * result; and what the option `filter` accepts.
 */

/** Two steps, an identification and the prototypes of every tier are those of the first. */
async function expectSameResults(
  loss: LossSpecification,
  prototypes: Tensor,
  embeddings: Tensor,
  labels: Int32Array,
) {
  const k = Math.min(3, prototypes.dims[0]!);
  const runs = filterTiers.map((filter) => {
    const head = headOf(loss, prototypes, { filter });
    const nearest = head.nearestSync(embeddings, { k });
    const steps = [1, 2].map(() => head.stepSync(embeddings, labels));
    return { head, nearest, steps };
  });
  const [first, ...others] = runs;
  for (const other of others) {
    expect(other.nearest).toEqual(first!.nearest);
    for (const [index, step] of other.steps.entries()) {
      const expected = first!.steps[index]!;
      step.losses.forEach((value, row) => {
        expectLoss(value, expected.losses[row]!);
      });
      expect(step.targetActive).toEqual(expected.targetActive);
      expect(
        relativeError(step.gradEmbeddings.data, expected.gradEmbeddings.data),
      ).toBeLessThanOrEqual(contract.headGradient);
    }
    const [a, b] = await Promise.all([
      first!.head.prototypes(),
      other.head.prototypes(),
    ]);
    expect(relativeError(b.data, a.data)).toBeLessThanOrEqual(1e-6);
  }
  for (const { head } of runs) head.dispose();
}

describe.runIf(onDevice)('what the filter of a GPU reads', () => {
  test.prop(
    [
      fc.constantFrom(1.1, 1.25, 1.5, 2, 3),
      fc.constantFrom(4, 16, 64),
      fc.constantFrom(2, 25, 300, 700),
      fc.constantFrom(1, 3, 19, 111, 257),
      fc.constantFrom(1, 11, 40, 130),
      fc.constantFrom(0.05, 1),
      fc.nat(1e6),
    ],
    { numRuns: 8 },
  )(
    'changes no result',
    async (alpha, scale, identities, dim, batch, noise, seed) => {
      const prototypes = normalTensor(identities, dim, seed);
      const labels = randomLabels(batch, identities, seed);
      const embeddings = clusteredEmbeddings(prototypes, labels, noise, seed);
      const loss = lossFamilies.qMargin(alpha, scale);
      await expectSameResults(loss, prototypes, embeddings, labels);
    },
    300_000,
  );

  it.each([
    ['axes, whose largest element is 1', [1, 0, 0, 0], [0, 0, -1, 0]],
    ['equal elements', [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0, 0]],
    ['elements too small for 8 bits', [1, 1e-3, -1e-3, 0], [1, 1e-3, 0, 1e-5]],
    ['elements half a step of 8 bits', [127, 0.5, 1.5, -0.5], [127, 2.5, 0, 0]],
    ['norms far from 1', [2e-10, 0, 0, 0], [0, 9e9, 0, 0]],
  ])('takes %s', async (_, first, second) => {
    const rows = Array.from({ length: 40 }, (_unused, j) =>
      j % 2 === 0 ? first : second,
    );
    const prototypes = tensor(Float32Array.from(rows.flat()), [40, 4]);
    const embeddings = tensor(Float32Array.from([...first, ...second]), [2, 4]);
    await expectSameResults(
      lossFamilies.qMargin(1.5, 16),
      prototypes,
      embeddings,
      Int32Array.of(0, 1),
    );
  });

  // A class with a large residual hides behind one with a small one when errors are averaged.
  it('allows every class its own error', async () => {
    const [identities, dim] = [600, 96];
    const data = normalTensor(identities, dim, 3).data.slice();
    for (let row = 0; row < identities; row += 3) {
      for (let k = 0; k < dim; k += 1) data[row * dim + k]! *= 0.004;
      data[row * dim + (row % dim)] = 1;
    }
    const prototypes = tensor(data, [identities, dim]);
    const labels = randomLabels(19, identities, 4);
    const embeddings = clusteredEmbeddings(prototypes, labels, 0.1, 5);
    for (const [alpha, scale] of [
      [1.25, 64],
      [2, 200],
    ] as const) {
      const loss = lossFamilies.qMargin(alpha, scale);
      await expectSameResults(loss, prototypes, embeddings, labels);
    }
  });

  /** A row [67] of three constants, in columns 0 … 31, 32 … 63 and one more. */
  const blocks = (first: number, second: number, column = 64, other = 0) =>
    Array.from({ length: 67 }, (_, k) =>
      k < 32 ? first : k < 64 ? second : k === column ? other : 0,
    );
  /** What makes a row's norm 1. */
  const rest = (...squares: number[]) =>
    Math.sqrt(1 - 32 * squares.reduce((sum, value) => sum + value ** 2, 0));

  // Elements just below and just above the middle between two of 8 or 11 bits, or of the whole
  // numbers: rounded down and up. Two classes have equal cosines, and seem to differ by more than
  // the support is wide.
  const float = (bits: number) =>
    [0.49, 0.51].map((part) => 2 ** -4 * (1 + part * 2 ** (1 - bits)));
  it.each([
    ['rows, float16', float(11), 4000],
    ['rows, bfloat16', float(8), 400],
    ['rows, int8', [9.49 * 6.757e-3, 9.51 * 6.757e-3], 50],
    ['classes, float16', float(11), 8000],
    ['classes, bfloat16', float(8), 800],
    ['classes, int8', [9.49 * 7.253e-3, 9.51 * 7.253e-3], 50],
  ])('allows for the rounding of %s', (name, elements, scale) => {
    const [down, up] = elements as [number, number];
    const [first, second, embedding] = name.startsWith('rows')
      ? [blocks(1, 0), blocks(0, 1), blocks(down, up, 64, rest(down, up))]
      : [
          blocks(down, 0, 64, rest(down)),
          blocks(0, up, 65, rest(up)),
          blocks(1, 1),
        ];
    const target = blocks(0, 0, 66, 1);
    for (const filter of filterTiers) {
      using head = headOf(
        lossFamilies.entmaxHead(2, scale),
        tensor(Float32Array.from([target, first, second].flat()), [3, 67]),
        { filter },
      );
      const { supportSize } = head.evaluateSync(
        tensor(Float32Array.from(embedding), [1, 67]),
        Int32Array.of(0),
      );
      expect([filter, ...supportSize]).toEqual([filter, 2]);
    }
  });

  it.runIf(emulated)('counts its memory', () => {
    const prototypes = normalTensor(100, 33, 1);
    const loss = lossFamilies.qMargin(1.25, 24);
    using half = headOf(loss, prototypes, { filter: 'mma' });
    using int8 = headOf(loss, prototypes, { filter: 'mma-int8' });
    using split = headOf(loss, prototypes, { filter: 'mma-split' });
    // D filled up to 64 elements; a scale and a residual for each int8 row.
    const others = 100 * (4 * 33 + 8);
    expect(half.memory().prototypes).toBe(others + 100 * 2 * 64);
    expect(int8.memory().prototypes).toBe(others + 100 * (64 + 8));
    // Upper halves are filled up, lower ones are not.
    expect(split.memory().prototypes).toBe(100 * (2 * 64 + 2 * 33 + 8 + 8));
  });

  it.runIf(emulated)('needs a device that has it', () => {
    const prototypes = normalTensor(10, 4, 1);
    const loss = lossFamilies.qMargin(1.25, 24);
    for (const computeCapability of [75, 89, 100]) {
      withEmulation({ computeCapability }, () => {
        for (const filter of ['wgmma', 'wgmma-int8', 'wgmma-split'] as const) {
          expect(() => headOf(loss, prototypes, { filter })).toThrow(
            "the filters 'wgmma' need compute capability 9.0, and the device has " +
              (computeCapability / 10).toFixed(1),
          );
        }
      });
    }
    withEmulation({ computeCapability: 75 }, () => {
      for (const filter of ['mma', 'mma-int8', 'mma-split'] as const) {
        expect(() => headOf(loss, prototypes, { filter })).toThrow(
          'filters with tensor cores need compute capability 8.0 or later, and the device has 7.5',
        );
      }
      using head = headOf(loss, prototypes, { filter: 'auto' });
      expect(head.nearestSync(prototypes).identities).toHaveLength(10);
    });
  });
});

describe('the option filter', () => {
  const prototypes = normalTensor(3, 4, 1);
  const loss = lossFamilies.qMargin(1.25, 24);

  it('is checked', () => {
    expect(() => headOf(loss, prototypes, { filter: 'wmma' as never })).toThrow(
      "PrototypeHead: expected filter to be 'auto', 'simt', 'mma', 'mma-int8', 'mma-split', 'wgmma', 'wgmma-int8' or 'wgmma-split' but received",
    );
    for (const filter of [
      'mma-int8',
      'mma-split',
      'wgmma-int8',
      'wgmma-split',
    ] as const) {
      const options = { filter, precision: 'fast' } as const;
      expect(() => headOf(loss, prototypes, options)).toThrow(
        onDevice
          ? "expected filter to be 'auto', 'simt', 'mma' or 'wgmma' with precision 'fast'"
          : "expected filter to be 'auto' on the CPU",
      );
    }
  });

  it.runIf(!onDevice)('is for GPUs', () => {
    expect(() => headOf(loss, prototypes, { filter: 'mma' })).toThrow(
      "expected filter to be 'auto' on the CPU but received 'mma'",
    );
  });
});
