import { describe, expect, it } from 'vitest';
import {
  cosFace,
  type LossSpecification,
  PrototypeHead,
  type PrototypeHeadOptions,
  qMargin,
  sgd,
  tensor,
} from '../lib/index.js';
import { expectLoss } from './helpers/contract.js';
import {
  emulated,
  filterTiers,
  interpreted,
  onDevice,
  orderSeeds,
  withEmulation,
} from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { expectSubCentreStep } from './helpers/sub-centre-step.js';

/*
 * Sub-centres on a GPU: test/sub-centres.test.ts for every filter, for sums and chunks that end in
 * the middle of everything, and for what only a GPU has.
 */

function problemOf(
  batch: number,
  identities: number,
  subCentres: number,
  dim: number,
) {
  const prototypes = normalTensor(identities * subCentres, dim, 1);
  const labels = randomLabels(batch, identities, 2);
  const places = labels.map(
    (label) => label * subCentres + (label % subCentres),
  );
  const embeddings = clusteredEmbeddings(prototypes, places, 1.2, 3);
  return { prototypes, labels, embeddings };
}

function headOf(
  loss: LossSpecification,
  subCentres: number,
  prototypes: ReturnType<typeof normalTensor>,
  options: Partial<PrototypeHeadOptions> = {},
) {
  const [rows, dim] = prototypes.dims as [number, number];
  return new PrototypeHead({
    identities: rows / subCentres,
    dim,
    subCentres,
    loss,
    optimizer: sgd({ learningRate: 0.1 }),
    prototypes,
    ...options,
  });
}

describe.runIf(onDevice).each(filterTiers)('sub-centres, %s', (filter) => {
  it.each([
    [1, 19, 2, 33],
    [19, 111, 3, 33],
    [131, 19, 9, 33],
  ] as const)('B %d, C %d, K %d, D %d', async (batch, identities, k, dim) => {
    const problem = problemOf(batch, identities, k, dim);
    const { prototypes, embeddings, labels } = problem;
    const loss = qMargin({ alpha: 1.25, scale: 16, margin: 0.2 });
    const run = (options: { scratchBudget?: number }) =>
      expectSubCentreStep(loss, prototypes, embeddings, labels, k, {
        filter,
        ...options,
      });
    expect((await run({})).stats.overflowRows).toBe(0);
    if (batch !== 19) return;
    const { stats } = await run({ scratchBudget: 0 });
    expect(stats.overflowRows).toBeGreaterThan(0);
  });

  // Kernels that are compiled for the host can be shown bounds older than the last.
  it.runIf(emulated && !interpreted)('stale bounds change no bit', async () => {
    const { prototypes, embeddings, labels } = problemOf(19, 500, 3, 19);
    const loss = qMargin({ alpha: 1.5, scale: 16, margin: 0.2 });
    const run = () =>
      expectSubCentreStep(loss, prototypes, embeddings, labels, 3, { filter });
    const fresh = await run();
    // The step is made before anything is awaited.
    const stale = await withEmulation({ staleBounds: 1 }, run);
    expect(stale.stats.survivors).toBeGreaterThan(fresh.stats.survivors);
    expect(stale.losses).toEqual(fresh.losses);
    expect(stale.gradEmbeddings.data).toEqual(fresh.gradEmbeddings.data);
  });

  // Once for each of the formats that filters read.
  it.runIf(filter.startsWith('mma'))(
    'nearest of more sub-centres than a list has room for',
    () => {
      const [identities, subCentres, dim] = [110, 100, 8];
      const one = normalTensor(1, dim, 7).data;
      // All alike but the first half of each identity, which is far away.
      const prototypes = tensor(
        Float32Array.from({ length: identities * subCentres * dim }, (_, i) => {
          const isFar = Math.floor(i / dim) % subCentres < subCentres / 2;
          return (isFar ? -1 : 1) * one[i % dim]!;
        }),
        [identities * subCentres, dim],
      );
      using head = headOf(qMargin(), subCentres, prototypes, { filter });
      const queries = normalTensor(3, dim, 8);
      for (const k of [5, 100]) {
        const { identities: found, cosines } = head.nearestSync(queries, { k });
        for (let query = 0; query < 3; query += 1) {
          const row = found.subarray(query * k, query * k + k);
          expect([...row]).toEqual(Array.from({ length: k }, (_, i) => i));
          // Whichever is the better: the cosine is positive.
          expect(cosines[query * k]).toBeGreaterThan(0);
        }
      }
    },
  );
});

// Sums go over 4096 prototypes where K divides them, over fewer where it does not, and with 9 over
// parts that the pieces of a product do not divide.
describe.runIf(onDevice)('rows that stream past sub-centres', () => {
  const losses = {
    CosFace: cosFace({ alpha: 1, scale: 24, margin: 0.2, labelSmoothing: 0.1 }),
    'Q-Margin': qMargin({ alpha: 1.1, scale: 8, margin: 0.2 }),
    'with inter-top-K': qMargin({
      alpha: 1.1,
      scale: 8,
      margin: 0.2,
      interTopK: { k: 3, penalty: 0.1 },
    }),
  } as const;
  it.each([
    ['CosFace', 3, 1400],
    ['CosFace', 9, 500],
    ['Q-Margin', 9, 500],
    ['with inter-top-K', 3, 1400],
  ] as const)('%s, K %d, C %d', async (name, k, identities) => {
    const { prototypes, embeddings, labels } = problemOf(7, identities, k, 8);
    const options = { scratchBudget: 0 };
    const loss = losses[name];
    const run = () =>
      expectSubCentreStep(loss, prototypes, embeddings, labels, k, options);
    const { stats } = await run();
    if (loss.alpha > 1) expect(stats.overflowRows).toBe(7);
    // Devices without tensor cores for these products.
    if (emulated && !interpreted && k === 9) {
      await withEmulation({ computeCapability: 75 }, run);
    }
  });
});

describe.runIf(emulated)('sub-centres', () => {
  it('in any order of execution have the same bits', () => {
    const { prototypes, embeddings, labels } = problemOf(19, 173, 3, 33);
    for (const loss of [
      lossFamilies.qMargin(1.25, 24),
      lossFamilies.cosFace(1, 24),
      lossFamilies.qMargin(1.05, 16),
    ]) {
      const run = () => {
        using head = headOf(loss, 3, prototypes, {
          scratchBudget: loss.alpha === 1.05 ? 0 : 1 << 24,
        });
        const result = head.stepSync(embeddings, labels);
        const { rowOffsets, columns, values } = head.posteriorSync(
          embeddings,
          labels,
        );
        const found = head.nearestSync(embeddings, { k: 7 });
        return {
          ...{ result, rowOffsets, columns, values, found },
        };
      };
      const [first, ...others] = orderSeeds.map((seed) =>
        withEmulation({ seed, interval: 13 * seed }, run),
      );
      for (const other of others) expect(other).toEqual(first);
    }
  });

  it('are those of the CPU: re-initialised to its bits', async () => {
    const { prototypes, labels } = problemOf(40, 11, 3, 19);
    const embeddings = normalTensor(40, 19, 5);
    labels[3] = -1;
    const chosen = Int32Array.from({ length: 9 }, (_, i) => i);
    const run = async (device: 'cpu' | 'auto') => {
      using head = headOf(qMargin(), 3, prototypes, { device });
      const replaced = await head.reinitialize([{ embeddings, labels }], {
        identities: chosen,
      });
      return { replaced, rows: await head.prototypes() };
    };
    const own = await run('auto');
    expect(own.replaced).toBeGreaterThan(9);
    expect(own).toEqual(await run('cpu'));
  });

  it.each(['mma', 'wgmma', 'simt'] as const)(
    'keep the cosines of the filter when fast, %s',
    (filter) => {
      const { prototypes, embeddings, labels } = problemOf(19, 331, 3, 512);
      const loss = qMargin({ alpha: 1.25, scale: 32, margin: 0.2 });
      const run = (precision: 'fast' | 'exact') => {
        using head = headOf(loss, 3, prototypes, { filter, precision });
        return head.stepSync(embeddings, labels);
      };
      const [fast, exact] = [run('fast'), run('exact')];
      expect(fast.losses).not.toEqual(exact.losses);
      // s times the error of a cosine at D = 512 (docs/devices.md).
      fast.losses.forEach((value, i) => {
        expect(Math.abs(value - exact.losses[i]!)).toBeLessThan(32 * 1.2e-3);
      });
      exact.losses.forEach((value, i) => {
        using cpu = headOf(loss, 3, prototypes, { device: 'cpu' });
        expectLoss(value, cpu.evaluateSync(embeddings, labels).losses[i]!);
      });
    },
  );
});
