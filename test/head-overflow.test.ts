import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  a3m,
  arcFace,
  cosFace,
  type LossSpecification,
  PrototypeHead,
  qMargin,
  setThreadCount,
  sgd,
  tensor,
} from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { familyNames, lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';
import { expectUpdate, largeLearningRate } from './helpers/updates.js';

/*
 * Rows with more candidates than the scratch budget allows stream past the classes again instead
 * of keeping them. A budget of 0 leaves 16 candidates to a row.
 */

interface Setting {
  readonly identities: number;
  readonly dim: number;
  readonly batch: number;
  readonly noise: number;
}

function problemOf({ identities, dim, batch, noise }: Setting) {
  const prototypes = normalTensor(identities, dim, 1);
  const labels = randomLabels(batch, identities, 2);
  const embeddings = clusteredEmbeddings(prototypes, labels, noise, 3);
  return { prototypes, labels, embeddings };
}

async function run(
  loss: Parameters<typeof referenceHead>[0],
  setting: Setting,
  scratchBudget?: number,
) {
  const { identities, dim } = setting;
  const { prototypes, labels, embeddings } = problemOf(setting);
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
  });
  const learningRate = largeLearningRate(expected.gradPrototypes);
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd({ learningRate }),
    prototypes,
    ...(scratchBudget === undefined ? {} : { scratchBudget }),
  });
  const result = head.stepSync(embeddings, labels);
  result.losses.forEach((value, i) => {
    expectLoss(value, expected.rows[i]!.loss);
  });
  expect(
    relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
  ).toBeLessThanOrEqual(contract.headGradient);
  await expectUpdate(head, prototypes, expected.gradPrototypes, learningRate);
  return result;
}

// Scales at which supports are wide.
describe.each([
  [1.05, 40],
  [1.25, 8],
  [1.5, 4],
  [2, 0.5],
  [3, 0.05],
])('overflowing rows, α %d, s %d', (alpha, scale) => {
  it.each(familyNames)('%s is within the contract', async (family) => {
    const loss = lossFamilies[family](alpha, scale);
    const setting = { identities: 989, dim: 33, batch: 7, noise: 2 };
    const sparse = await run(loss, setting);
    const streamed = await run(loss, setting, 0);
    expect(sparse.stats.overflowRows).toBe(0);
    expect(streamed.stats.overflowRows).toBeGreaterThan(0);
    expect(streamed.supportSize).toEqual(sparse.supportSize);
    expect(streamed.targetActive).toEqual(sparse.targetActive);
    expect(streamed.stats.support).toBe(sparse.stats.support);
    // A coefficient below float32's smallest number touches nothing when rows stream.
    const underflows = alpha < 1.1 ? 10 : 0;
    const untouched =
      sparse.stats.touchedPrototypes - streamed.stats.touchedPrototypes;
    expect(untouched).toBeGreaterThanOrEqual(0);
    expect(untouched).toBeLessThanOrEqual(underflows);
  });
});

describe('cosines kept from pass to pass', () => {
  // Of the chunks of up to 1024 prototypes none, one and all are kept.
  const [identities, dim, batch] = [2500, 19, 7];
  const chunk = 4 * 1024 * batch;
  const interTopK = { k: 3, penalty: 0.1 };

  it.each<[string, LossSpecification, number]>([
    ['softmax', cosFace({ alpha: 1, scale: 24, margin: 0.2 }), 1],
    ['softmax, sub-centres', arcFace({ alpha: 1, scale: 24, margin: 0.2 }), 2],
    ['softmax, inter-top-K', cosFace({ alpha: 1, scale: 24, interTopK }), 1],
    ['overflow', qMargin({ alpha: 1.05, scale: 8, margin: 0.2 }), 1],
    ['overflow, sub-centres', qMargin({ alpha: 1.05, scale: 8 }), 2],
    ['overflow, not convex', a3m({ alpha: 3, scale: 1e-7, margin: 0.1 }), 1],
  ])('change no bit: %s', async (_, loss, subCentres) => {
    const prototypes = normalTensor(identities * subCentres, dim, 1);
    const embeddings = normalTensor(batch, dim, 2);
    const labels = randomLabels(batch, identities, 3);
    const results = [];
    for (const scratchBudget of [0, chunk, 3 * subCentres * chunk]) {
      using head = new PrototypeHead({
        ...{ identities, dim, subCentres, loss, prototypes, scratchBudget },
        device: 'cpu',
        optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
      });
      const steps = [0, 1].map(() => head.stepSync(embeddings, labels));
      for (const { stats } of steps) {
        expect(stats.overflowRows).toBe(loss.alpha === 1 ? 0 : batch);
      }
      const posterior = head.posteriorSync(embeddings, labels);
      const { data } = await head.prototypes();
      results.push({
        moved: steps[0]!.stats.movedBytes,
        // Not the numbers: to show how many thousands of them differ takes minutes.
        digests: [
          ...steps.flatMap(({ losses, gradEmbeddings, supportSize }) => [
            ...[losses, gradEmbeddings.data, supportSize],
          ]),
          ...[posterior.rowOffsets, posterior.columns, posterior.values, data],
        ].map((values) => createHash('sha256').update(values).digest('hex')),
      });
    }
    const [first, ...others] = results;
    for (const { digests } of others) expect(digests).toEqual(first!.digests);
    // Each chunk that is kept is read less often.
    const [none, some, all] = results.map(({ moved }) => moved);
    expect(none).toBeGreaterThan(some!);
    expect(some).toBeGreaterThan(all!);
  });
});

describe('rows of both kinds in one batch', () => {
  it('are within the contract', async () => {
    const loss = lossFamilies.qMargin(1.25, 24);
    const setting = { identities: 989, dim: 19, batch: 19, noise: 0.9 };
    const { stats } = await run(loss, setting, 0);
    expect(stats.overflowRows).toBeGreaterThan(0);
    expect(stats.overflowRows).toBeLessThan(19);
  });
});

// Three million survivors of one group: the stream stops to solve before it has seen the group's end.
describe.runIf(!onDevice)('more survivors than a group may have', () => {
  it('are solved in between: same results, for any number of threads', () => {
    const [identities, dim, batch] = [4000, 3, 1300];
    const embeddings = normalTensor(batch, dim, 3);
    const labels = randomLabels(batch, identities, 2);
    using head = new PrototypeHead({
      identities,
      dim,
      loss: lossFamilies.qMargin(1.5, 0.02),
      optimizer: sgd(),
      prototypes: normalTensor(identities, dim, 1),
      scratchBudget: 2 ** 31,
    });
    setThreadCount(1);
    const { stats, ...result } = head.evaluateSync(embeddings, labels);
    expect(stats.overflowRows).toBe(0);
    expect(stats.survivors).toBeGreaterThan(4e6);
    setThreadCount(3);
    const { stats: more, ...again } = head.evaluateSync(embeddings, labels);
    expect(again).toEqual(result);
    expect(more.survivors).toBe(stats.survivors);
    for (const row of [0, 700, 1299]) {
      const alone = head.evaluateSync(
        tensor(embeddings.data.slice(dim * row, dim * (row + 1)), [1, dim]),
        labels.slice(row, row + 1),
      );
      expectLoss(result.losses[row]!, alone.losses[0]!);
      expect(result.supportSize[row]).toBe(alone.supportSize[0]);
    }
  });
});

// Long embeddings, large scales and targets almost aligned with their prototypes are where float32
// cosines and products show.
describe('hard settings of rows that stream', () => {
  it.each([
    ['qMargin', 1.05, 64, 300, 512, 2],
    ['qMargin', 1, 64, 300, 512, 2],
    ['arcFace', 1, 16, 2000, 128, 0.02],
    ['arcFace', 1, 64, 300, 512, 0.02],
    ['arcFace', 1.05, 16, 300, 512, 0.02],
    ['cosFace', 1, 64, 2000, 128, 50],
  ] as const)('%s, α %d, s %d, C %d, D %d, noise %d', async (...row) => {
    const [family, alpha, scale, identities, dim, noise] = row;
    const loss = lossFamilies[family](alpha, scale);
    await run(loss, { identities, dim, batch: 8, noise }, 0);
  });
});
