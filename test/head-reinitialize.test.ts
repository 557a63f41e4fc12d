import { describe, expect, it } from 'vitest';
import {
  AlphaMarginError,
  adagrad,
  entmaxHead,
  type LabelledBatch,
  PrototypeHead,
  sgd,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { normalTensor, randomLabels } from './helpers/random.js';

const [identities, dim] = [12, 5] as const;

function newHead(optimizer = sgd({ learningRate: 0.5, momentum: 0.9 })) {
  return new PrototypeHead({
    identities,
    dim,
    loss: entmaxHead({ alpha: 1.25, scale: 4 }),
    optimizer,
    seed: 3,
  });
}

/** Batches whose labels are 0 … classes − 1 only. */
function batches(classes: number): LabelledBatch[] {
  return [0, 1, 2].map((seed) => ({
    embeddings: normalTensor(9, dim, 40 + seed),
    labels: randomLabels(9, classes, seed),
  }));
}

/** Normalised means of normalised embeddings, by class. */
function means(all: LabelledBatch[]): Map<number, number[]> {
  const sums = new Map<number, number[]>();
  for (const { embeddings, labels } of all) {
    const data = (embeddings as TensorLike).data as Float32Array;
    (labels as Int32Array).forEach((label, i) => {
      const row = [...data.subarray(i * dim, (i + 1) * dim)];
      const norm = Math.hypot(...row);
      const sum = sums.get(label) ?? new Array<number>(dim).fill(0);
      sums.set(
        label,
        sum.map((value, k) => value + row[k]! / norm),
      );
    });
  }
  for (const [label, sum] of sums) {
    const norm = Math.hypot(...sum);
    sums.set(
      label,
      sum.map((value) => Math.fround(value / norm)),
    );
  }
  return sums;
}

const rowOf = (values: Float32Array, j: number) => [
  ...values.subarray(j * dim, (j + 1) * dim),
];

async function expectMeans(
  head: PrototypeHead,
  before: Float32Array,
  expected: Map<number, number[]>,
) {
  const after = (await head.prototypes()).data;
  for (let j = 0; j < identities; j += 1) {
    const mean = expected.get(j);
    if (mean === undefined) {
      expect(rowOf(after, j)).toEqual(rowOf(before, j));
    } else {
      rowOf(after, j).forEach((value, k) => {
        expect(Math.abs(value - mean[k]!)).toBeLessThanOrEqual(1.2e-7);
      });
    }
  }
}

describe('reinitialize', () => {
  it('replaces the classes seen by their means and keeps the others', async () => {
    using head = newHead();
    const before = (await head.prototypes()).data;
    const all = batches(8);
    const expected = means(all);
    expect(await head.reinitialize(all)).toBe(expected.size);
    expect(expected.size).toBeLessThan(identities);
    await expectMeans(head, before, expected);
  });

  it('takes an asynchronous generator, and a restriction to identities', async () => {
    using head = newHead();
    const before = (await head.prototypes()).data;
    const all = batches(8);
    async function* generate() {
      yield* all;
    }
    const chosen = Int32Array.of(2, 5, 11);
    const expected = means(all);
    for (const label of [...expected.keys()]) {
      if (!chosen.includes(label)) expected.delete(label);
    }
    expect(await head.reinitialize(generate(), { identities: chosen })).toBe(
      expected.size,
    );
    await expectMeans(head, before, expected);
  });

  it.each([
    ['momentum', sgd({ learningRate: 0.5, momentum: 0.9 })],
    ['accumulators', adagrad({ learningRate: 0.5 })],
  ])('zeroes the %s of the classes seen', async (_, optimizer) => {
    using trained = newHead(optimizer);
    const [batch] = batches(identities);
    const { embeddings, labels } = batch!;
    for (let i = 0; i < 3; i += 1) trained.stepSync(embeddings, labels);
    const seen = batches(identities).map((one, i) => ({
      ...one,
      labels: Int32Array.from({ length: 9 }, (_, row) => (9 * i + row) % 12),
    }));
    expect(await trained.reinitialize(seen)).toBe(identities);
    // From here on it is a head that was never trained.
    using fresh = newHead(optimizer);
    await fresh.setPrototypes(await trained.prototypes());
    for (let i = 0; i < 3; i += 1) {
      trained.stepSync(embeddings, labels);
      fresh.stepSync(embeddings, labels);
    }
    expect(await trained.prototypes()).toEqual(await fresh.prototypes());
  });

  it('keeps a class whose embeddings cancel, and changes nothing without batches', async () => {
    using head = newHead();
    const before = await head.prototypes();
    const opposite = tensor(Float32Array.of(1, 2, 0, 0, 1, -1, -2, 0, 0, -1), [
      2,
      dim,
    ]);
    expect(
      await head.reinitialize([
        { embeddings: opposite, labels: Int32Array.of(4, 4) },
      ]),
    ).toBe(0);
    expect(await head.reinitialize([])).toBe(0);
    expect(await head.prototypes()).toEqual(before);
  });
});

describe('a re-initialisation that fails', () => {
  const [good] = batches(8);
  const bad: [string, LabelledBatch, string][] = [
    [
      'a label out of range',
      { ...good!, labels: good!.labels as Int32Array },
      'ERR_LABEL_RANGE',
    ],
    [
      'a NaN',
      { ...good!, embeddings: tensor(new Float32Array(45).fill(NaN), [9, 5]) },
      'ERR_NON_FINITE',
    ],
    [
      'a wrong width',
      { ...good!, embeddings: tensor(new Float32Array(45), [5, 9]) },
      'ERR_INVALID_ARGUMENT',
    ],
  ];
  bad[0]![1] = { ...good!, labels: new Int32Array(9).fill(identities) };

  it.each(bad)('with %s changes nothing', async (_, batch, code) => {
    using head = newHead();
    const before = await head.prototypes();
    const failure = await head.reinitialize([good!, batch]).catch((e) => e);
    expect(failure).toBeInstanceOf(AlphaMarginError);
    expect(failure.code).toBe(code);
    expect(failure.stack).toContain('head-reinitialize.test.ts');
    expect(await head.prototypes()).toEqual(before);
    // Nothing of the failed pass is left over for the next.
    const other = { ...good!, labels: new Int32Array(9).fill(11) };
    expect(await head.reinitialize([other])).toBe(1);
    await expectMeans(head, before.data, means([other]));
  });

  it('by an error of the iterator hands that error on', async () => {
    using head = newHead();
    const before = await head.prototypes();
    async function* broken() {
      yield good!;
      throw new RangeError('the disk is gone');
    }
    await expect(head.reinitialize(broken())).rejects.toThrow(RangeError);
    expect(await head.prototypes()).toEqual(before);
  });

  it('because another one is running says so', async () => {
    using head = newHead();
    const first = head.reinitialize(batches(8));
    await expect(head.reinitialize(batches(8))).rejects.toMatchObject({
      code: 'ERR_BUSY',
    });
    expect(await first).toBe(means(batches(8)).size);
    expect(await head.reinitialize([])).toBe(0);
  });

  it('because the head was disposed meanwhile says so', async () => {
    const head = newHead();
    async function* disposing() {
      yield good!;
      head.dispose();
      yield good!;
    }
    await expect(head.reinitialize(disposing())).rejects.toMatchObject({
      code: 'ERR_DISPOSED',
    });
  });

  it.each([
    ['no iterable', 5],
    ['a list of nothing', [null]],
    ['a list of numbers', [1]],
  ])('refuses %s', async (_, batches) => {
    using head = newHead();
    await expect(
      head.reinitialize(batches as unknown as LabelledBatch[]),
    ).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });
});
