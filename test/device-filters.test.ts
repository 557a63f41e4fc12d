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
    { numRuns: 15 },
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

  it.runIf(emulated)('counts its memory', () => {
    const prototypes = normalTensor(100, 33, 1);
    const loss = lossFamilies.qMargin(1.25, 24);
    using half = headOf(loss, prototypes, { filter: 'mma' });
    using int8 = headOf(loss, prototypes, { filter: 'mma-int8' });
    // D filled up to 64 elements; a scale and a residual for each int8 row.
    const others = 100 * (4 * 33 + 8);
    expect(half.memory().prototypes).toBe(others + 100 * 2 * 64);
    expect(int8.memory().prototypes).toBe(others + 100 * (64 + 8));
  });

  it.runIf(emulated)('needs a device that has it', () => {
    const prototypes = normalTensor(10, 4, 1);
    const loss = lossFamilies.qMargin(1.25, 24);
    for (const computeCapability of [75, 89, 100]) {
      withEmulation({ computeCapability }, () => {
        expect(() => headOf(loss, prototypes, { filter: 'wgmma' })).toThrow(
          "the filter 'wgmma' needs compute capability 9.0, and the device has " +
            (computeCapability / 10).toFixed(1),
        );
      });
    }
    withEmulation({ computeCapability: 75 }, () => {
      for (const filter of ['mma', 'mma-int8'] as const) {
        expect(() => headOf(loss, prototypes, { filter })).toThrow(
          'need compute capability 8.0 or later, and the device has 7.5',
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
      "PrototypeHead: expected filter to be 'auto', 'simt', 'mma', 'mma-int8' or 'wgmma' but received",
    );
    const options = { filter: 'mma-int8', precision: 'fast' } as const;
    expect(() => headOf(loss, prototypes, options)).toThrow(
      onDevice
        ? "expected filter to be 'auto', 'simt', 'mma' or 'wgmma' with precision 'fast'"
        : "expected filter to be 'auto' on the CPU",
    );
  });

  it.runIf(!onDevice)('is for GPUs', () => {
    expect(() => headOf(loss, prototypes, { filter: 'mma' })).toThrow(
      "expected filter to be 'auto' on the CPU but received 'mma'",
    );
  });
});
