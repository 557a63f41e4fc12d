import { fc, test } from '@fast-check/vitest';
import { afterAll, describe, expect } from 'vitest';
import {
  entmaxSync,
  type LossSpecification,
  PrototypeHead,
  type PrototypeHeadOptions,
  setThreadCount,
  sgd,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { contract, expectLoss, largestDifference } from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import {
  familyNames,
  type LossFamily,
  lossFamilies,
  lossOnCosines,
} from './helpers/losses.js';
import {
  clusteredEmbeddings,
  cornerTensor,
  normalTensor,
  permutation,
  randomLabels,
  reorderRows,
} from './helpers/random.js';
import { referenceCosines } from './helpers/reference-head.js';

const quick = { numRuns: 12 } as const;
const anyOrder = fc.constantFrom(1, 1.25, 1.5, 2, 3);
const anySeed = fc.nat({ max: 1e6 });
const anySize = fc.constantFrom(1, 7, 19, 111, 989, 1300);
// Above and below what the streaming path needs: 0 sends rows of more than 16 candidates there.
const anyBudget = fc.constantFrom(undefined, 0);
const anyLoss = fc
  .tuple(fc.constantFrom(...familyNames), anyOrder, fc.constantFrom(8, 32))
  .map(([family, alpha, scale]) => lossFamilies[family](alpha, scale));

afterAll(() => setThreadCount(2));

function headOf(
  loss: LossSpecification,
  prototypes: Tensor,
  options: Partial<PrototypeHeadOptions> & { budget?: number | undefined } = {},
): PrototypeHead {
  const { budget, ...others } = options;
  return new PrototypeHead({
    identities: prototypes.dims[0]!,
    dim: prototypes.dims[1]!,
    loss,
    optimizer: sgd({ learningRate: 0.1 }),
    prototypes,
    ...(budget === undefined ? {} : { scratchBudget: budget }),
    ...others,
  });
}

/** Sparse rows as dense ones. */
function dense(rows: ReturnType<PrototypeHead['posteriorSync']>): number[][] {
  const [height, width] = rows.dims;
  return Array.from({ length: height }, (_, i) => {
    const row = new Array<number>(width).fill(0);
    for (let e = rows.rowOffsets[i]!; e < rows.rowOffsets[i + 1]!; e += 1) {
      row[rows.columns[e]!] = rows.values[e]!;
    }
    return row;
  });
}

describe('streamed = dense', () => {
  const withFunction = fc.constantFrom<LossFamily>(
    ...familyNames.filter((name) => name !== 'combinedMargin'),
  );

  // Corners of a cube: the float64 cosines are exact in float32, so both sides have equal inputs.
  test.prop([withFunction, anyOrder, anySize, anySeed, anyBudget], {
    ...quick,
    // The second class of a row lies exactly on the threshold.
    examples: [['qMargin', 1.25, 1300, 17, 0]],
  })(
    'losses, supports and posteriors are those of the functions on cosines',
    (family, alpha, identities, seed, budget) => {
      const loss = lossFamilies[family](alpha, 32);
      const prototypes = cornerTensor(identities, seed);
      const embeddings = cornerTensor(5, seed + 1);
      const labels = randomLabels(5, identities, seed);
      const cosines = tensor(
        Float32Array.from(
          referenceCosines(embeddings.data, prototypes.data, 64).flat(),
        ),
        [5, identities],
      );
      using head = headOf(loss, prototypes, { budget });
      const received = head.evaluateSync(embeddings, labels);
      const expected = lossOnCosines(loss, cosines, labels);
      received.losses.forEach((value, i) => {
        expectLoss(value, expected.loss.data[i]!);
      });
      expect(received.supportSize).toEqual(expected.supportSize);
      expect(received.targetActive).toEqual(expected.targetActive);

      const logits = tensor(
        cosines.data.map((c) => 32 * c),
        cosines.dims,
      );
      const posterior = dense(head.posteriorSync(embeddings)).flat();
      expect(
        largestDifference(posterior, entmaxSync(logits, { alpha }).data),
      ).toBeLessThanOrEqual(contract.posterior);
    },
  );
});

describe('the order of prototypes', () => {
  test.prop([anyLoss, anySize, anySeed, anyBudget], quick)(
    'is irrelevant',
    async (loss, identities, seed, budget) => {
      const prototypes = normalTensor(identities, 19, seed);
      const order = permutation(identities, seed);
      const labels = randomLabels(4, identities, seed);
      const embeddings = clusteredEmbeddings(prototypes, labels, 1.2, seed);
      const place = new Int32Array(identities);
      order.forEach((from, to) => {
        place[from] = to;
      });
      using head = headOf(loss, prototypes, { budget });
      using other = headOf(loss, reorderRows(prototypes, order), { budget });
      const a = head.stepSync(embeddings, labels);
      const b = other.stepSync(
        embeddings,
        labels.map((label) => place[label]!),
      );
      b.losses.forEach((value, i) => {
        expectLoss(value, a.losses[i]!);
      });
      const norm = Math.hypot(...a.gradEmbeddings.data);
      expect(
        largestDifference(b.gradEmbeddings.data, a.gradEmbeddings.data),
      ).toBeLessThanOrEqual(contract.headGradient * norm);
      const updated = reorderRows(await head.prototypes(), order).data;
      expect(
        largestDifference((await other.prototypes()).data, updated),
      ).toBeLessThanOrEqual(1e-5);
    },
  );
});

describe('a row alone', () => {
  test.prop([anyLoss, anySize, anySeed, anyBudget], quick)(
    'has the same bits as among 16 others',
    (loss, identities, seed, budget) => {
      const prototypes = normalTensor(identities, 19, seed);
      const labels = randomLabels(16, identities, seed);
      const embeddings = clusteredEmbeddings(prototypes, labels, 1, seed);
      using head = headOf(loss, prototypes, { budget });
      const together = head.evaluateSync(embeddings, labels);
      const posterior = dense(head.posteriorSync(embeddings, labels));
      for (const row of [0, 7, 15]) {
        const one = reorderRows(embeddings, [row]);
        const label = Int32Array.of(labels[row]!);
        const alone = head.evaluateSync(one, label);
        expect(alone.losses[0]).toBe(together.losses[row]);
        expect(alone.supportSize[0]).toBe(together.supportSize[row]);
        expect(alone.targetActive[0]).toBe(together.targetActive[row]);
        // The mean divides by B = 16, a power of two: an exact factor.
        const gradient = together.gradEmbeddings.data
          .subarray(19 * row, 19 * (row + 1))
          .map((g) => 16 * g);
        expect([...alone.gradEmbeddings.data]).toEqual([...gradient]);
        expect(dense(head.posteriorSync(one, label))).toEqual([posterior[row]]);
      }
    },
  );
});

describe('any number of threads', () => {
  test.prop([anyLoss, anySize, anySeed, anyBudget], quick)(
    'gives the same bits, step after step',
    async (loss, identities, seed, budget) => {
      const run = async (threads: number) => {
        setThreadCount(threads);
        using head = new PrototypeHead({
          identities,
          dim: 33,
          seed,
          loss,
          optimizer: sgd({
            learningRate: 0.2,
            momentum: 0.9,
            weightDecay: 1e-3,
          }),
          ...(budget === undefined ? {} : { scratchBudget: budget }),
        });
        const outputs: unknown[] = [];
        for (let step = 0; step < 3; step += 1) {
          const embeddings = normalTensor(13, 33, seed + step);
          const labels = randomLabels(13, identities, seed + step);
          const { stats, ...result } = head.stepSync(embeddings, labels);
          outputs.push(result, stats.survivors, stats.touchedPrototypes);
        }
        const nearest = head.nearestSync(normalTensor(3, 33, seed));
        return [...outputs, nearest, await head.prototypes()];
      };
      const one = await run(1);
      for (const threads of onDevice ? [2, 4] : [2, 4, 40]) {
        expect(await run(threads)).toEqual(one);
      }
    },
  );
});
