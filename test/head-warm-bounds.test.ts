import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  PrototypeHead,
  type PrototypeHeadOptions,
  setThreadCount,
  sgd,
} from '../lib/index.js';
import { onDevice } from './helpers/emulation.js';
import { type LossFamily, lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
  uniform,
} from './helpers/random.js';

/*
 * A head assumes that thresholds are like those of its last calls. That is a matter of time and
 * memory, never of results: they have the bits of a head that has no calls behind it.
 */

const DIM = 24;

const IDENTITIES = 2000;

/**
 * What a candidate of a row takes of the scratch budget (native/head/sparse_rows.cc,
 * native/cuda/head/candidate_stream.cu).
 */
const CANDIDATE_BYTES = onDevice ? 60 : 40;

/** How many times what a row kept must fit for the row to be sure of its room; as there. */
const ROOM_FOR_MORE = onDevice ? 2 : 4;
const PROTOTYPES = normalTensor(IDENTITIES, DIM, 1);

/** Embeddings near the prototypes of their labels: their thresholds are high. */
function nearTargets(
  labels: Int32Array,
  seed: number,
  prototypes = PROTOTYPES,
) {
  return clusteredEmbeddings(prototypes, labels, 0.3, seed);
}

function makeHead(options: Partial<PrototypeHeadOptions> = {}) {
  return new PrototypeHead({
    identities: IDENTITIES,
    dim: DIM,
    loss: lossFamilies.qMargin(1.5, 12),
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
    prototypes: PROTOTYPES,
    ...options,
  });
}

/** A result without the bytes of scratch memory, which threads have a part in. */
function withoutScratch<Result extends { stats: { scratchBytes: number } }>(
  result: Result,
) {
  const { scratchBytes, ...stats } = result.stats;
  expect(scratchBytes).toBeGreaterThan(0);
  return { ...result, stats };
}

describe('bounds that earlier calls suggest', () => {
  it.each([
    ['by classes', 16, 5],
    ['by rows', 128, 2],
  ])('let fewer classes through, %s', async (_, batch, calls) => {
    using head = makeHead();
    const call = (seed: number, other = head) =>
      withoutScratch(
        other.evaluateSync(
          normalTensor(batch, DIM, seed),
          randomLabels(batch, IDENTITIES, seed),
        ),
      ).stats;
    const cold = call(0);
    for (let seed = 1; seed < calls - 1; seed += 1) call(seed);
    const warm = call(calls);
    expect(warm.survivors).toBeLessThan(cold.survivors / 2);

    // Another loss has other thresholds, and so have other prototypes.
    head.loss = lossFamilies.qMargin(1.25, 12);
    using other = makeHead({ loss: head.loss });
    expect(call(1)).toEqual(call(1, other));
    for (let seed = 2; seed < 2 + calls; seed += 1) call(seed);
    const prototypes = normalTensor(IDENTITIES, DIM, 7);
    await head.setPrototypes(prototypes);
    using third = makeHead({ loss: head.loss, prototypes });
    expect(call(1)).toEqual(call(1, third));
  });

  // What is assumed from rows near their targets holds for no other.
  it('are given up where they do not hold', () => {
    const labels = randomLabels(128, IDENTITIES, 1);
    const far = normalTensor(128, DIM, 2);
    const loss = lossFamilies.entmaxHead(1.5, 12);
    using fresh = makeHead({ loss });
    const { stats: once, ...expected } = withoutScratch(
      fresh.evaluateSync(far, labels),
    );
    using head = makeHead({ loss });
    for (let call = 0; call < 2; call += 1) {
      head.evaluateSync(nearTargets(labels, call), labels);
    }
    const { stats: twice, ...result } = head.evaluateSync(far, labels);
    expect(result).toEqual(expected);
    expect(twice.survivors).toBeGreaterThan(once.survivors);
    // Nothing is assumed for some calls.
    const { stats } = withoutScratch(head.evaluateSync(far, labels));
    expect(stats).toEqual(once);
  });

  it('hide no overflow', () => {
    const scratchBudget = 128 * 80 * CANDIDATE_BYTES;
    const labels = randomLabels(128, IDENTITIES, 1);
    const far = normalTensor(128, DIM, 2);
    const loss = lossFamilies.entmaxHead(1.25, 12);
    using fresh = makeHead({ loss, scratchBudget });
    const { stats, ...expected } = fresh.evaluateSync(far, labels);
    expect(stats.overflowRows).toBeGreaterThan(0);
    using head = makeHead({ loss, scratchBudget });
    for (let call = 0; call < 2; call += 1) {
      head.evaluateSync(nearTargets(labels, call), labels);
    }
    const { stats: later, ...result } = head.evaluateSync(far, labels);
    expect(result).toEqual(expected);
    expect(later.overflowRows).toBe(stats.overflowRows);
  });

  // Hundreds of classes alike would fill a list before the better ones come.
  it('hide no overflow on the way', () => {
    const prototypes = normalTensor(IDENTITIES, DIM, 1);
    const { data } = prototypes;
    for (let identity = 0; identity < 1900; identity += 1) {
      const row = data.subarray(identity * DIM, (identity + 1) * DIM);
      row[0] = 0;
      const others = Math.hypot(...row);
      const cosine = identity < 1800 ? 0.5 : 0.9;
      row[0] = (cosine / Math.sqrt(1 - cosine ** 2)) * others;
    }
    const options = {
      loss: lossFamilies.entmaxHead(1.5, 12),
      prototypes,
      scratchBudget: 128 * 90 * ROOM_FOR_MORE * CANDIDATE_BYTES,
    };
    const embeddings = normalTensor(128, DIM, 2, 0.001);
    for (let row = 0; row < 128; row += 1) embeddings.data[row * DIM]! += 1;
    const labels = randomLabels(128, 800, 1);
    using fresh = makeHead(options);
    const { stats, ...expected } = fresh.evaluateSync(embeddings, labels);
    expect(stats.overflowRows).toBe(128);
    using head = makeHead(options);
    for (let call = 0; call < 2; call += 1) {
      const near = randomLabels(128, 100, call).map((label) => 1900 + label);
      const { stats: early } = head.evaluateSync(
        clusteredEmbeddings(prototypes, near, 0.3, call),
        near,
      );
      expect(early.overflowRows).toBe(0);
    }
    const { stats: later, ...result } = head.evaluateSync(embeddings, labels);
    expect(later.overflowRows).toBe(128);
    expect(result).toEqual(expected);
  });

  it.skipIf(onDevice)('are the same for any number of threads', () => {
    const run = (threads: number) => {
      setThreadCount(threads);
      using head = makeHead({ loss: lossFamilies.entmaxHead(1.5, 12) });
      return Array.from({ length: 6 }, (_, call) => {
        const labels = randomLabels(128, IDENTITIES, call);
        // Every third batch is another kind, and rows of it are streamed again.
        const embeddings =
          call % 3 === 2
            ? normalTensor(128, DIM, call)
            : nearTargets(labels, call);
        return withoutScratch(head.stepSync(embeddings, labels));
      });
    };
    const alone = run(1);
    expect(run(2)).toEqual(alone);
    expect(run(3)).toEqual(alone);
  });

  test.prop(
    [
      fc.constantFrom(1.1, 1.25, 1.4, 1.5, 2, 3),
      fc.constantFrom<LossFamily>('entmaxHead', 'qMargin', 'a3m'),
      fc.constantFrom(1, 193, 1025, 4000),
      fc.constantFrom(16, 130),
      // Heads without a shadow are not there on a GPU.
      fc.constantFrom(1, 2),
      fc.boolean(),
      fc.constantFrom<'auto' | 'none'>(
        ...(onDevice ? ['auto' as const] : ['auto' as const, 'none' as const]),
      ),
      fc.boolean(),
      fc.constantFrom('alike', 'harder', 'easier'),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    ],
    // The emulated device takes a second for each.
    { numRuns: onDevice ? 6 : 40 },
  )(
    'change no bit',
    (alpha, family, identities, batch, subCentres, isSpecial, shadow, hasReference, mood, seed) => {
      const next = uniform(seed);
      const targets = normalTensor(identities * subCentres, DIM, seed);
      const options: Partial<PrototypeHeadOptions> = {
        identities,
        loss: {
          ...lossFamilies[family](alpha, 12),
          ...(isSpecial && { interTopK: 3, interTopKPenalty: 0.06 }),
        },
        subCentres,
        shadow,
        ...(hasReference && {
          reference: Float32Array.from(
            { length: identities },
            () => 0.5 + next(),
          ),
        }),
        prototypes: targets,
        scratchBudget: 2 ** 28,
      };
      using head = makeHead(options);
      const calls = Math.ceil(150 / batch);
      const batchOf = (isNear: boolean, call: number) => {
        const labels = randomLabels(batch, identities, seed + call);
        if (isSpecial) labels[3] = -1;
        const embeddings = isNear
          ? nearTargets(
              labels.map((label) => Math.max(0, label) * subCentres),
              call,
              targets,
            )
          : normalTensor(batch, DIM, seed + call);
        return [embeddings, labels] as const;
      };
      for (let call = 0; call < calls; call += 1) {
        head.evaluateSync(...batchOf(mood === 'harder', call));
      }
      const given = batchOf(mood === 'easier', calls);
      const { stats, ...result } = head.evaluateSync(...given);
      using fresh = makeHead(options);
      const { stats: freshStats, ...expected } = fresh.evaluateSync(...given);
      expect(result).toEqual(expected);
      expect(stats.support).toBe(freshStats.support);
      expect(stats.overflowRows).toBe(freshStats.overflowRows);
    },
  );
});
