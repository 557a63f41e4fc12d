import { describe, expect, it } from 'vitest';
import {
  type FilterName,
  type LossSpecification,
  PrototypeHead,
  sgd,
} from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import {
  emulated,
  filterTiers,
  interpreted,
  onDevice,
  withEmulation,
} from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';
import { expectUpdate, largeLearningRate } from './helpers/updates.js';

/*
 * All tiers of the filter at awkward sizes, with room for the candidates and without: whatever a
 * tier lets through, the step is that of the float64 reference.
 */

const sizes = [1, 19, 111, 513, 989, 4097];

interface Setting {
  readonly batch: number;
  readonly identities: number;
  readonly dim: number;
  readonly scratchBudget?: number | undefined;
  readonly filter?: FilterName;
}

function makeProblem(loss: LossSpecification, setting: Setting) {
  const { batch, identities, dim } = setting;
  const prototypes = normalTensor(identities, dim, 1);
  const labels = randomLabels(batch, identities, 2);
  const embeddings = clusteredEmbeddings(prototypes, labels, 1.5, 3);
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
  });
  return { prototypes, labels, embeddings, expected };
}

const problems = new Map<string, ReturnType<typeof makeProblem>>();

/** Inputs of a step and what the float64 reference says of it: made once for all tiers. */
function problemOf(loss: LossSpecification, setting: Setting) {
  const { batch, identities, dim } = setting;
  const name = JSON.stringify([loss, batch, identities, dim]);
  const problem = problems.get(name) ?? makeProblem(loss, setting);
  problems.set(name, problem);
  return problem;
}

/** A step and the update it makes are those of the dense reference in float64. */
async function expectReferenceStep(loss: LossSpecification, setting: Setting) {
  const { identities, dim, scratchBudget, filter = 'auto' } = setting;
  const { prototypes, labels, embeddings, expected } = problemOf(loss, setting);
  const learningRate = largeLearningRate(expected.gradPrototypes);
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd({ learningRate }),
    prototypes,
    filter,
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

describe.runIf(onDevice).each(filterTiers)(
  'the step of a head, %s',
  (filter) => {
    const cases = [
      ...sizes.map((identities) => ({ batch: 19, identities, dim: 33 })),
      ...[1, 111, 513].map((batch) => ({ batch, identities: 111, dim: 19 })),
      ...[1, 513, 989].map((dim) => ({ batch: 7, identities: 111, dim })),
    ];
    const all = [
      ...cases.flatMap((sizesOf) =>
        [undefined, 0].map((scratchBudget) => ({ ...sizesOf, scratchBudget })),
      ),
      // More rows than a block has, and a cluster; wider than rows stay in shared memory.
      {
        batch: 131,
        identities: 519,
        dim: filter === 'wgmma-int8' ? 1089 : 577,
        scratchBudget: undefined,
      },
    ];
    it.each(all)(
      'B $batch, C $identities, D $dim, budget $scratchBudget',
      async (setting) => {
        const loss = lossFamilies.qMargin(1.25, 16);
        await expectReferenceStep(loss, { ...setting, filter });
      },
    );
  },
);

// A bound that a kernel reads may be older than the last: that lets more candidates through. Old ones
// are shown by kernels that are compiled for the host.
describe.runIf(emulated && !interpreted).each(filterTiers)(
  'the step of a head whose bounds are stale, %s',
  (filter) => {
    const settings = [
      { batch: 19, identities: 4097, dim: 33 },
      { batch: 19, identities: 989, dim: 33, scratchBudget: 0 },
      { batch: 111, identities: 989, dim: 19 },
    ];
    it.each(settings)(
      'B $batch, C $identities, D $dim, budget $scratchBudget',
      async (setting) => {
        const loss = lossFamilies.qMargin(1.25, 16);
        const fresh = await expectReferenceStep(loss, { ...setting, filter });
        // The step is made before anything is awaited.
        const stale = await withEmulation({ staleBounds: 1 }, () =>
          expectReferenceStep(loss, { ...setting, filter }),
        );
        expect(stale.stats.survivors).toBeGreaterThan(fresh.stats.survivors);
        expect(stale.stats.overflowRows).toBe(fresh.stats.overflowRows);
        expect(stale.losses).toEqual(fresh.losses);
        expect(stale.gradEmbeddings.data).toEqual(fresh.gradEmbeddings.data);
      },
    );

    it('identification', () => {
      using head = new PrototypeHead({
        identities: 4097,
        dim: 33,
        loss: lossFamilies.entmaxHead(1.5, 8),
        optimizer: sgd(),
        filter,
      });
      const queries = normalTensor(19, 33, 8);
      const fresh = head.nearestSync(queries, { k: 7 });
      const stale = withEmulation({ staleBounds: 1 }, () =>
        head.nearestSync(queries, { k: 7 }),
      );
      expect(stale).toEqual(fresh);
    });
  },
);

// Rows that stream through all classes: their products run on tensor cores where there are any.
describe.runIf(onDevice)('products of rows that stream', () => {
  it.each([
    ['CosFace', lossFamilies.cosFace(1, 32)],
    ['ArcFace', lossFamilies.arcFace(1, 32)],
    ['Q-Margin, overflowing', lossFamilies.qMargin(1.1, 16)],
  ])('%s', async (_, loss) => {
    const setting = { batch: 65, identities: 131, dim: 67, scratchBudget: 0 };
    const large = await expectReferenceStep(loss, setting);
    if (!emulated) return;
    // The step is made before anything is awaited.
    const plain = await withEmulation({ computeCapability: 75 }, () =>
      expectReferenceStep(loss, setting),
    );
    expect(large.stats.overflowRows).toBe(plain.stats.overflowRows);
    // Other kernels, the same numbers but for the last digits.
    expect(large.gradEmbeddings.data).not.toEqual(plain.gradEmbeddings.data);
  });
});

describe.runIf(onDevice)(
  'identification with ties beyond the room of a list',
  () => {
    it.each(filterTiers)('%s', (filter) => {
      const [identities, dim] = [20_000, 8];
      const one = normalTensor(1, dim, 7);
      const data = Float32Array.from(
        { length: identities * dim },
        (_, i) => one.data[i % dim]!,
      );
      using head = new PrototypeHead({
        identities,
        dim,
        loss: lossFamilies.entmaxHead(1.5, 8),
        optimizer: sgd(),
        prototypes: { data, dims: [identities, dim] },
        filter,
      });
      const found = head.nearestSync(normalTensor(3, dim, 8), { k: 5 });
      for (let query = 0; query < 3; query += 1) {
        const row = found.identities.subarray(query * 5, query * 5 + 5);
        expect([...row]).toEqual([0, 1, 2, 3, 4]);
      }
    });
  },
);
