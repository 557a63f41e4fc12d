import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  adagrad,
  PrototypeHead,
  qMarginLossSync,
  sgd,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { anyLabelledCosines, quick } from './helpers/arbitraries.js';
import { expectSameBits } from './helpers/contract.js';
import {
  familiesAndOrders,
  functionFamilies,
  lossFamilies,
  lossOnCosines,
} from './helpers/losses.js';
import { normalTensor, randomLabels, reorderRows } from './helpers/random.js';

/** A batch with ignored rows in it, whose values are not even numbers, and the batch without. */
function withIgnored(rows: Tensor, labels: Int32Array, every: number) {
  const [count, width] = rows.dims as [number, number];
  const data: number[] = [];
  const classes: number[] = [];
  const places: number[] = [];
  for (let row = 0; row < count; row += 1) {
    if (row % every === 0) {
      classes.push(-1);
      for (let k = 0; k < width; k += 1) data.push(k % 2 ? Number.NaN : 7e37);
    }
    places.push(classes.length);
    classes.push(labels[row]!);
    data.push(...rows.data.subarray(row * width, (row + 1) * width));
  }
  return {
    rows: tensor(Float32Array.from(data), [classes.length, width]),
    labels: Int32Array.from(classes),
    places,
    ignored: classes.flatMap((label, row) => (label === -1 ? [row] : [])),
  };
}

describe.each(familiesAndOrders)('$family, α $alpha', ({ family, alpha }) => {
  it.each([
    ['sparse or dense rows', undefined],
    ['overflowing rows', 0],
  ])('a step is that of the batch without them, %s', async (_, budget) => {
    const [identities, dim] = [989, 19];
    const loss = lossFamilies[family](alpha, 16);
    const embeddings = normalTensor(19, dim, 3);
    const labels = randomLabels(19, identities, 5);
    const batch = withIgnored(embeddings, labels, 4);
    const newHead = () =>
      new PrototypeHead({
        identities,
        dim,
        loss,
        optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
        ...(budget === undefined ? {} : { scratchBudget: budget }),
      });
    using head = newHead();
    using other = newHead();
    for (const call of ['evaluateSync', 'stepSync'] as const) {
      const result = head[call](batch.rows, batch.labels);
      const expected = other[call](embeddings, labels);
      expect(result.loss).toBe(expected.loss);
      expect(result.stats.zeroLossRows).toBe(expected.stats.zeroLossRows);
      expect(result.stats.support).toBe(expected.stats.support);
      expect(reorderRows(result.gradEmbeddings, batch.places).data).toEqual(
        expected.gradEmbeddings.data,
      );
      batch.places.forEach((place, row) => {
        expect(result.losses[place]).toBe(expected.losses[row]);
        expect(result.supportSize[place]).toBe(expected.supportSize[row]);
        expect(result.targetActive[place]).toBe(expected.targetActive[row]);
      });
      for (const row of batch.ignored) {
        expect(result.losses[row]).toBe(0);
        expect(result.supportSize[row]).toBe(0);
        expect(result.targetActive[row]).toBe(0);
        const first = row * dim;
        expect(
          result.gradEmbeddings.data
            .subarray(first, first + dim)
            .every((g) => Object.is(g, 0)),
        ).toBe(true);
      }
    }
    expectSameBits(
      (await head.prototypes()).data,
      (await other.prototypes()).data,
    );
    const rows = head.posteriorSync(batch.rows, batch.labels);
    const expected = other.posteriorSync(embeddings, labels);
    expectSameBits(rows.columns, expected.columns);
    expectSameBits(rows.values, expected.values);
    for (const row of batch.ignored) {
      expect(rows.rowOffsets[row + 1]).toBe(rows.rowOffsets[row]);
    }
  });
});

describe.each(['sgd', 'adagrad'] as const)(
  'a batch without a label, %s',
  (kind) => {
    it.each([1, 1.25])('changes nothing, α %d', async (alpha) => {
      const optimizer =
        kind === 'sgd'
          ? sgd({ learningRate: 0.5, momentum: 0.9, weightDecay: 0.1 })
          : adagrad();
      const newHead = () =>
        new PrototypeHead({
          identities: 40,
          dim: 7,
          loss: lossFamilies.qMargin(alpha, 8),
          optimizer,
        });
      using head = newHead();
      using other = newHead();
      const [x, y] = [normalTensor(5, 7, 1), randomLabels(5, 40, 2)];
      head.stepSync(x, y);
      other.stepSync(x, y);
      const nothing = tensor(new Float32Array(21), [3, 7]);
      const result = head.stepSync(nothing, Int32Array.of(-1, -1, -1));
      expect(result.loss).toBe(0);
      expect([...result.losses]).toEqual([0, 0, 0]);
      expect(result.gradEmbeddings.data).toEqual(new Float32Array(21));
      expect(result.stats.touchedPrototypes).toBe(0);
      expect(result.stats.zeroLossRows).toBe(0);
      head.stepSync(x, y);
      other.stepSync(x, y);
      expect(await head.prototypes()).toEqual(await other.prototypes());
    });
  },
);

it('are passed over by a re-initialisation', async () => {
  const newHead = () =>
    new PrototypeHead({
      identities: 20,
      dim: 5,
      loss: lossFamilies.a3m(1.25, 8),
      optimizer: sgd(),
    });
  using head = newHead();
  using other = newHead();
  const [x, y] = [normalTensor(30, 5, 1), randomLabels(30, 20, 2)];
  const batch = withIgnored(x, y, 3);
  expect(
    await head.reinitialize([{ embeddings: batch.rows, labels: batch.labels }]),
  ).toBe(await other.reinitialize([{ embeddings: x, labels: y }]));
  expect(await head.prototypes()).toEqual(await other.prototypes());
});

describe.each(functionFamilies)('%s on cosines', (family) => {
  // Beyond 16,384 classes a device solves rows in slices.
  it.each([1, 19, 989, 20_000])('%d classes', (classes) => {
    for (const alpha of classes > 1000 ? [1, 1.25] : [1, 1.25, 2.5]) {
      const loss = lossFamilies[family](alpha, 16);
      const noise = normalTensor(5, classes, 7, 0.2);
      const cosines = tensor(
        noise.data.map((c) => Math.max(-1, Math.min(1, c))),
        [5, classes],
      );
      const labels = randomLabels(5, classes, 9);
      const batch = withIgnored(cosines, labels, 2);
      const result = lossOnCosines(loss, batch.rows, batch.labels);
      const expected = lossOnCosines(loss, cosines, labels);
      const upstream = Float32Array.from(batch.labels, (_, i) => 1 + i / 3);
      const counted = Float32Array.from(batch.places, (i) => upstream[i]!);
      const gradients = [
        [result.backwardSync(), expected.backwardSync()],
        [
          result.backwardSync(tensor(upstream, [upstream.length])),
          expected.backwardSync(tensor(counted, [5])),
        ],
      ] as const;
      for (const [gradient, wanted] of gradients) {
        expectSameBits(reorderRows(gradient, batch.places).data, wanted.data);
        for (const row of batch.ignored) {
          const first = row * classes;
          expect(
            gradient.data
              .subarray(first, first + classes)
              .every((g) => Object.is(g, 0)),
          ).toBe(true);
        }
      }
      batch.places.forEach((place, row) => {
        expect(result.loss.data[place]).toBe(expected.loss.data[row]);
        expect(result.threshold[place]).toBe(expected.threshold[row]);
        expect(result.supportSize[place]).toBe(expected.supportSize[row]);
        expect(result.targetActive[place]).toBe(expected.targetActive[row]);
      });
      for (const row of batch.ignored) {
        expect(result.loss.data[row]).toBe(0);
        expect(result.threshold[row]).toBe(0);
        expect(result.supportSize[row]).toBe(0);
        expect(result.targetActive[row]).toBe(0);
      }
    }
  });
});

test.prop([anyLabelledCosines(4, 9)], quick)(
  'all rows ignored: losses and gradient are 0',
  ({ cosines, labels }) => {
    const none = labels.map(() => -1);
    const result = qMarginLossSync(cosines, none);
    expect([...result.loss.data]).toEqual([...none].map(() => 0));
    expect(result.backwardSync().data.every((g) => g === 0)).toBe(true);
  },
);

test.prop([fc.integer({ min: -(2 ** 31), max: -2 })], quick)(
  'no other negative label is',
  (label) => {
    const cosines = tensor(Float32Array.of(0.1, 0.2), [1, 2]);
    expect(() => qMarginLossSync(cosines, [label])).toThrow(
      expect.objectContaining({ code: 'ERR_LABEL_RANGE' }),
    );
  },
);
