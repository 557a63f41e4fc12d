import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  adagrad,
  type LossSpecification,
  PrototypeHead,
  sgd,
  tensor,
} from '../lib/index.js';
import { filterTiers, onDevice } from './helpers/emulation.js';
import { headOf } from './helpers/heads.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
  uniform,
} from './helpers/random.js';

/*
 * Prototypes in two halves (filter 'mma-split') are the float32 prototypes, bit for bit, and so is
 * everything that is computed from them.
 */

const hasSplit = filterTiers.includes('mma-split');

const bitsOf = (values: Float32Array) =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

/** float32 of random bits between 2^-149 and about 2^99, of either sign. */
function randomFloats(count: number, seed: number): Float32Array {
  const next = uniform(seed);
  const bits = Uint32Array.from({ length: count }, () => {
    const exponent = Math.floor(next() * 226);
    const sign = next() < 0.5 ? 0 : 0x80000000;
    return sign + exponent * 2 ** 23 + Math.floor(next() * 2 ** 23);
  });
  return new Float32Array(bits.buffer);
}

describe.runIf(onDevice && hasSplit)('prototypes in halves', () => {
  it.each([
    ['in one piece', 40, 33],
    ['in several pieces', 4300, 1024],
  ])('come back with all their bits, %s', async (_, identities, dim) => {
    const values = randomFloats(identities * dim, 5);
    // A norm that a head takes, next to elements of any size.
    for (let row = 0; row < identities; row += 1) values[row * dim] = 1;
    for (let i = 0; i < values.length; i += 1) {
      if (Math.abs(values[i]!) > 2 ** 40) values[i] = -0;
    }
    const before = bitsOf(values);
    using head = headOf(
      lossFamilies.qMargin(1.5, 16),
      tensor(values, [identities, dim]),
      { filter: 'mma-split' },
    );
    const { data } = await head.prototypes();
    // Millions: too many for an assertion that looks at each.
    const changed = bitsOf(data as Float32Array).findIndex(
      (bits, k) => bits !== before[k],
    );
    expect(changed).toBe(-1);
    const chosen = Int32Array.of(identities - 1, 3);
    const replaced = randomFloats(2 * dim, 6).map((value, k) =>
      k % dim === 1 ? 1 : Math.abs(value) > 2 ** 40 ? 0.1 : value,
    );
    await head.setPrototypes(tensor(replaced, [2, dim]), chosen);
    const after = await head.prototypes(chosen);
    expect(bitsOf(after.data as Float32Array)).toEqual(bitsOf(replaced));
  });

  it('are born with the same bits', async () => {
    const rows = await Promise.all(
      (['mma', 'mma-split'] as const).map(async (filter) => {
        using head = new PrototypeHead({
          identities: 70,
          dim: 19,
          loss: lossFamilies.qMargin(1.5, 16),
          optimizer: sgd(),
          seed: 3,
          filter,
        });
        return bitsOf((await head.prototypes()).data as Float32Array);
      }),
    );
    expect(rows[1]).toEqual(rows[0]);
  });

  const optimizers = {
    'sgd with momentum': sgd({
      learningRate: 0.5,
      momentum: 0.9,
      weightDecay: 1e-3,
    }),
    adagrad: adagrad({ learningRate: 0.1 }),
  };

  test.prop(
    [
      fc.constantFrom(1, 1.1, 1.25, 2),
      fc.constantFrom(4, 24),
      fc.constantFrom(2, 25, 300),
      fc.constantFrom(1, 19, 111, 600),
      fc.constantFrom(1, 11, 40),
      fc.constantFrom(0.05, 1),
      fc.constantFrom(undefined, 0),
      fc.constantFrom('sgd with momentum' as const, 'adagrad' as const),
      fc.nat(1e6),
    ],
    { numRuns: 10 },
  )(
    'train like whole ones',
    async (alpha, scale, identities, dim, batch, noise, budget, rule, seed) => {
      const prototypes = normalTensor(identities, dim, seed);
      const labels = randomLabels(batch, identities, seed);
      const embeddings = clusteredEmbeddings(prototypes, labels, noise, seed);
      const loss: LossSpecification = lossFamilies.qMargin(alpha, scale);
      const options = {
        optimizer: optimizers[rule],
        ...(budget === undefined ? {} : { scratchBudget: budget }),
      };
      using whole = headOf(loss, prototypes, { ...options, filter: 'mma' });
      using split = headOf(loss, prototypes, {
        ...options,
        filter: 'mma-split',
      });
      for (let step = 0; step < 3; step += 1) {
        const a = whole.stepSync(embeddings, labels);
        const b = split.stepSync(embeddings, labels);
        // Which rows overflow is the filter's; those that do are summed in another order.
        fc.pre(a.stats.overflowRows === b.stats.overflowRows);
        expect(b.losses).toEqual(a.losses);
        expect(b.gradEmbeddings).toEqual(a.gradEmbeddings);
        expect(b.supportSize).toEqual(a.supportSize);
      }
      const [a, b] = await Promise.all([
        whole.prototypes(),
        split.prototypes(),
      ]);
      expect(bitsOf(b.data as Float32Array)).toEqual(
        bitsOf(a.data as Float32Array),
      );
    },
    300_000,
  );

  it('go on from a checkpoint of whole ones, and the other way round', async () => {
    const prototypes = normalTensor(300, 33, 1);
    const labels = randomLabels(19, 300, 2);
    const embeddings = clusteredEmbeddings(prototypes, labels, 1, 3);
    const folder = await mkdtemp(path.join(tmpdir(), 'alphamargin-'));
    try {
      const results: Uint32Array[] = [];
      for (const [first, second] of [
        ['mma', 'mma'],
        ['mma', 'mma-split'],
        ['mma-split', 'mma'],
      ] as const) {
        const file = path.join(folder, `${first}-${second}.safetensors`);
        using before = headOf(lossFamilies.qMargin(1.25, 8), prototypes, {
          filter: first,
        });
        before.stepSync(embeddings, labels);
        await before.save(file);
        using after = await PrototypeHead.load(file, { filter: second });
        after.stepSync(embeddings, labels);
        const { data } = await after.prototypes();
        results.push(bitsOf(data as Float32Array));
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('need no copy that an update would rewrite', () => {
    const prototypes = normalTensor(300, 64, 1);
    const labels = randomLabels(19, 300, 2);
    const embeddings = clusteredEmbeddings(prototypes, labels, 1, 3);
    const moved = (['mma', 'mma-split'] as const).map((filter) => {
      using head = headOf(lossFamilies.qMargin(1.25, 8), prototypes, {
        filter,
      });
      const { stats } = head.stepSync(embeddings, labels);
      return [stats.movedBytes, stats.touchedPrototypes] as const;
    });
    const [[whole, touched], [split]] = moved as [
      (typeof moved)[0],
      (typeof moved)[0],
    ];
    // A scale and a residual of every row that is read or written; no rows of float16 written.
    expect(split).toBe(whole + 300 * 8 - touched * (2 * 64 - 8));
  });
});
