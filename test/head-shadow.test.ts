import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  type LossSpecification,
  PrototypeHead,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { headOf } from './helpers/heads.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';

/*
 * The filter reads a copy of the prototypes in bytes, or the float32 prototypes themselves. What it
 * reads may change how much it lets through, never a result.
 */

async function expectSameResults(
  loss: LossSpecification,
  prototypes: Tensor,
  embeddings: Tensor,
  labels: Int32Array,
) {
  using copied = headOf(loss, prototypes);
  using single = headOf(loss, prototypes, { shadow: 'none' });
  expect(copied.nearestSync(embeddings, { k: 2 })).toEqual(
    single.nearestSync(embeddings, { k: 2 }),
  );
  for (let step = 0; step < 2; step += 1) {
    const a = copied.stepSync(embeddings, labels);
    const b = single.stepSync(embeddings, labels);
    a.losses.forEach((value, row) => {
      expectLoss(value, b.losses[row]!);
    });
    expect(a.targetActive).toEqual(b.targetActive);
    expect(
      relativeError(a.gradEmbeddings.data, b.gradEmbeddings.data),
    ).toBeLessThanOrEqual(contract.headGradient);
  }
  const [a, b] = await Promise.all([copied.prototypes(), single.prototypes()]);
  expect(relativeError(a.data, b.data)).toBeLessThanOrEqual(1e-6);
}

describe.runIf(!onDevice)('what the filter reads', () => {
  test.prop(
    [
      fc.constantFrom(1.1, 1.25, 1.5, 2, 3),
      fc.constantFrom(4, 16, 64),
      fc.constantFrom(2, 25, 300, 1500),
      fc.constantFrom(1, 3, 8, 19, 111, 513),
      fc.constantFrom(0.05, 1),
      fc.constantFrom(1, 30, 3000),
      fc.nat(1e6),
    ],
    { numRuns: 80 },
  )(
    'changes no result',
    async (alpha, scale, identities, dim, noise, spike, seed) => {
      const prototypes = normalTensor(identities, dim, seed);
      const labels = randomLabels(11, identities, seed);
      const embeddings = clusteredEmbeddings(prototypes, labels, noise, seed);
      // An element that dwarfs the others takes their digits in bytes.
      for (let row = 0; row < identities; row += 1 + (seed % 3)) {
        prototypes.data[row * dim + ((7 * row) % dim)]! *= spike;
      }
      const loss = lossFamilies.qMargin(alpha, scale);
      await expectSameResults(loss, prototypes, embeddings, labels);
    },
  );

  // Panels of 8 rows are filtered 16 at a time; threads share the rows of the first two batches and
  // the classes of the last.
  it.each([129, 300, 1100])('changes no result of %i rows', async (rows) => {
    const prototypes = normalTensor(1000, 16, rows);
    const labels = randomLabels(rows, 1000, 1);
    const embeddings = clusteredEmbeddings(prototypes, labels, 0.5, 2);
    const loss = lossFamilies.qMargin(1.5, 16);
    await expectSameResults(loss, prototypes, embeddings, labels);
  });

  it.each([
    ['axes, whose largest element is 1', [1, 0, 0, 0], [0, 0, -1, 0]],
    ['elements that round to a half', [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0, 0]],
    ['elements too small for bytes', [1, 1e-6, -1e-6, 0], [1, 0, 0, 1e-30]],
    ['norms far from 1', [2e-10, 0, 0, 0], [0, 9e9, 0, 0]],
  ])('takes %s', async (_, first, second) => {
    const rows = Array.from({ length: 40 }, (_, j) =>
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

  // One element is 1, all others are just below the middle between two bytes, and round alike: the
  // cosine with a vector of ones loses 0.03 of 0.334, all that the bound allows for.
  const lossy = Float32Array.from({ length: 64 }, (_, k) =>
    k === 0 ? 1 : 3.499 / 127,
  );
  const ones = (count: number) =>
    Float32Array.from({ length: 64 }, (_, k) => (k < count ? 1 : 0));
  it.each([
    ['a prototype', ones(64), lossy, ones(7), 0.3307],
    ['an embedding', lossy, ones(64), ones(20), 0.3328],
  ])(
    'finds %s that bytes put far behind others',
    (_, query, nearest, other, cosine) => {
      const [identities, dim] = [700, 64];
      const rows = new Float32Array(identities * dim);
      for (let row = 0; row < identities; row += 1) rows.set(other, row * dim);
      rows.set(nearest, 500 * dim);
      using head = headOf(
        lossFamilies.qMargin(1.25, 24),
        tensor(rows, [identities, dim]),
      );
      const found = head.nearestSync(tensor(query, [1, dim]), { k: 2 });
      expect([...found.identities]).toEqual([500, 0]);
      expect(found.cosines[0]).toBeCloseTo(0.3341, 3);
      expect(found.cosines[1]).toBeCloseTo(cosine, 3);
    },
  );

  it('follows every change of a prototype', async () => {
    const [identities, dim] = [613, 37];
    const loss = lossFamilies.qMargin(1.25, 24);
    const prototypes = normalTensor(identities, dim, 1);
    const labels = randomLabels(17, identities, 2);
    const embeddings = clusteredEmbeddings(prototypes, labels, 0.5, 3);
    const folder = mkdtempSync(path.join(tmpdir(), 'alphamargin-'));
    const file = path.join(folder, 'head.safetensors');
    const expectFresh = async (head: PrototypeHead) => {
      using fresh = headOf(loss, await head.prototypes());
      const { stats: _, ...expected } = fresh.evaluateSync(embeddings, labels);
      expect(head.evaluateSync(embeddings, labels)).toMatchObject(expected);
      expect(head.nearestSync(embeddings, { k: 5 })).toEqual(
        fresh.nearestSync(embeddings, { k: 5 }),
      );
    };
    try {
      using head = headOf(loss, prototypes);
      head.evaluateSync(embeddings, labels);
      await head.step(embeddings, labels);
      await expectFresh(head);
      const some = Int32Array.of(0, 5, 612, labels[0]!);
      await head.setPrototypes(normalTensor(4, dim, 9), some);
      await expectFresh(head);
      await head.reinitialize([{ embeddings, labels }]);
      await expectFresh(head);
      await head.save(file);
      using loaded = await PrototypeHead.load(file);
      await expectFresh(loaded);
      using slim = await PrototypeHead.load(file, { shadow: 'none' });
      const { stats: _, ...expected } = loaded.evaluateSync(embeddings, labels);
      expect(slim.evaluateSync(embeddings, labels)).toMatchObject(expected);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is counted: bytes held and bytes moved', () => {
    const [identities, dim] = [1000, 30];
    const prototypes = normalTensor(identities, dim, 1);
    const embeddings = normalTensor(5, dim, 2);
    const labels = randomLabels(5, identities, 3);
    const loss = lossFamilies.qMargin(1.25, 24);
    using head = headOf(loss, prototypes);
    using slim = headOf(loss, prototypes, { shadow: 'none' });
    const bytes = identities * (4 * dim + 8);
    expect(head.memory().prototypes).toBe(bytes);
    const { stats } = head.evaluateSync(embeddings, labels);
    // Filled up to 1008 rows of 32 elements, with a scale and a residual.
    expect(head.memory().prototypes).toBe(bytes + 1008 * (32 + 8));
    expect(stats.movedBytes).toBeGreaterThan((32 + 8) * identities);
    // Rows whose support is every class look again at all of them: a prototype once for all rows while
    // it is in cache, or, where threads share the rows, once for each. Then come the exact cosines.
    using wide = headOf(lossFamilies.entmaxHead(1.1, 0.5), prototypes);
    for (const [batch, rowsRead] of [
      [5, 2 * identities],
      [64, 64 * identities + 64 * (identities - 1)],
    ] as const) {
      const { stats } = wide.forwardSync(
        normalTensor(batch, dim, 4),
        randomLabels(batch, identities, 5),
      );
      expect(stats.support).toBe(batch * identities);
      expect(stats.movedBytes).toBe((32 + 8) * identities + rowsRead * 4 * dim);
    }
    // What is looked at does not depend on a row's place in its panel.
    const few = clusteredEmbeddings(prototypes, labels, 0.05, 6);
    const moved = Array.from({ length: 5 }, (_, shift) => {
      const order = (row: number) => (row + shift) % 5;
      const turned = Float32Array.from(
        { length: 5 * dim },
        (_, i) => few.data[order(Math.floor(i / dim)) * dim + (i % dim)]!,
      );
      using fresh = headOf(lossFamilies.qMargin(2, 64), prototypes);
      return fresh.forwardSync(
        tensor(turned, [5, dim]),
        labels.map((_, row) => labels[order(row)]!),
      ).stats.movedBytes;
    });
    expect(moved).toEqual(moved.map(() => moved[0]));
    const stepped = head.stepSync(embeddings, labels).stats;
    expect(stepped.movedBytes).toBeGreaterThanOrEqual(
      stats.movedBytes + stepped.touchedPrototypes * 3 * 4 * dim,
    );
    const slimStats = slim.evaluateSync(embeddings, labels).stats;
    expect(slim.memory().prototypes).toBe(bytes);
    expect(slimStats.movedBytes).toBeGreaterThan(4 * dim * identities);
    // Softmax reads all prototypes for the loss and for the gradient of the embeddings, and where the
    // cosines were not kept for its own gradient too.
    for (const [passes, scratchBudget] of [
      [2, 1 << 20],
      [3, 0],
    ] as const) {
      const softmax = lossFamilies.cosFace(1, 24);
      using dense = headOf(softmax, prototypes, { scratchBudget });
      const { movedBytes } = dense.evaluateSync(embeddings, labels).stats;
      // And the row of each target.
      expect(movedBytes).toBe(passes * 4 * dim * identities + 5 * 4 * dim);
    }
  });
});

describe.runIf(!onDevice)('rows too wide for sums of bytes', () => {
  it('are filtered without a shadow', () => {
    const [identities, dim] = [5, 2 ** 16 + 1];
    const prototypes = normalTensor(identities, dim, 1);
    const queries = clusteredEmbeddings(prototypes, Int32Array.of(3), 0.5, 2);
    using head = headOf(lossFamilies.qMargin(1.5, 16), prototypes);
    expect(head.nearestSync(queries, { k: 1 }).identities).toEqual(
      Int32Array.of(3),
    );
    expect(head.memory().prototypes).toBe(identities * (4 * dim + 8));
  });
  it('and the widest that are not', async () => {
    const [identities, dim] = [5, 2 ** 16];
    const labels = Int32Array.of(3, 0);
    // All elements alike: the largest sums there are.
    const same = Float32Array.from({ length: identities * dim }, (_, k) =>
      k < dim ? -1 : 1 + (k % 7) * 1e-3,
    );
    const prototypes = tensor(same, [identities, dim]);
    const embeddings = tensor(same.slice(3 * dim), [2, dim]);
    const loss = lossFamilies.qMargin(1.5, 16);
    await expectSameResults(loss, prototypes, embeddings, labels);
  });
});

describe('the option shadow', () => {
  it('is checked', () => {
    const prototypes = normalTensor(3, 4, 1);
    const loss = lossFamilies.qMargin(1.25, 24);
    expect(() => headOf(loss, prototypes, { shadow: 'int8' as never })).toThrow(
      "PrototypeHead: expected shadow to be 'auto' or 'none' but received",
    );
    if (!onDevice) return;
    expect(() => headOf(loss, prototypes, { shadow: 'none' })).toThrow(
      "expected shadow to be 'auto' on a GPU but received 'none'",
    );
  });
});
