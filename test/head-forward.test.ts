import { describe, expect, it } from 'vitest';
import { DeviceTensor, PrototypeHead, sgd } from '../lib/index.js';
import { onDevice } from './helpers/emulation.js';
import { type LossFamily, lossFamilies } from './helpers/losses.js';
import { normalTensor, randomLabels } from './helpers/random.js';

/* The forward pass alone gives the numbers of an evaluation, and no gradient. */

const cases: [LossFamily, number, number, number, number | undefined][] = [
  ['qMargin', 1.5, 1, 19, undefined],
  ['a3m', 1.25, 19, 989, undefined],
  ['entmaxHead', 1.1, 19, 111, 0], // every row overflows
  ['qMargin', 1.5, 128, 1025, undefined], // shared by rows
  ['cosFace', 1, 19, 989, undefined],
];

describe('forward', () => {
  it.each(cases)(
    '%s, α %d, B %d, C %d, budget %s: what evaluate gives, without a gradient',
    async (family, alpha, batch, identities, scratchBudget) => {
      using head = new PrototypeHead({
        identities,
        dim: 33,
        loss: lossFamilies[family](alpha, 16),
        optimizer: sgd({ learningRate: 0.1 }),
        ...(scratchBudget !== undefined && { scratchBudget }),
      });
      const embeddings = normalTensor(batch, 33, 1);
      const labels = randomLabels(batch, identities, 2);
      labels[0] = batch > 1 ? -1 : 0;
      const { stats, gradEmbeddings, ...numbers } = head.evaluateSync(
        embeddings,
        labels,
      );
      const before = await head.prototypes();
      const alone = head.forwardSync(embeddings, labels);
      expect(alone).toMatchObject(numbers);
      expect(alone.gradEmbeddings).toBeNull();
      // On the CPU bounds may have learned from the call before.
      expect(alone.stats.survivors).toBeLessThanOrEqual(stats.survivors);
      // Prototypes are not read again for a gradient. (On a GPU the number is an estimate.)
      if (!onDevice) {
        expect(alone.stats.movedBytes).toBeLessThan(stats.movedBytes);
      }
      expect(await head.forward(embeddings, labels)).toMatchObject(numbers);
      expect(await head.prototypes()).toEqual(before);
      expect(gradEmbeddings.dims).toEqual([batch, 33]);
    },
  );

  it('takes the margins of rows, and gives their gradient', () => {
    using head = new PrototypeHead({
      identities: 111,
      dim: 19,
      loss: lossFamilies.a3m(1.5, 16),
      optimizer: sgd(),
    });
    const embeddings = normalTensor(7, 19, 1);
    const labels = randomLabels(7, 111, 2);
    const margins = Float32Array.from({ length: 7 }, (_, row) => 0.05 * row);
    const { losses, gradMargins } = head.evaluateSync(embeddings, labels, {
      margins,
    });
    const alone = head.forwardSync(embeddings, labels, { margins });
    expect(alone.losses).toEqual(losses);
    expect(alone.gradMargins).toEqual(gradMargins);
  });

  it.runIf(onDevice)('takes embeddings that lie on the device', async () => {
    using head = new PrototypeHead({
      identities: 111,
      dim: 19,
      loss: lossFamilies.qMargin(1.5, 16),
      optimizer: sgd(),
    });
    const embeddings = normalTensor(7, 19, 1);
    const labels = randomLabels(7, 111, 2);
    using uploaded = await DeviceTensor.upload(embeddings, {
      device: head.device as 'cuda',
    });
    const alone = await head.forward(uploaded, labels);
    expect(alone.losses).toEqual(
      (await head.forward(embeddings, labels)).losses,
    );
    expect(alone.gradEmbeddings).toBeNull();
  });

  it('refuses what evaluate refuses, in its own name', async () => {
    const head = new PrototypeHead({
      identities: 9,
      dim: 3,
      loss: lossFamilies.qMargin(1.5, 16),
      optimizer: sgd(),
    });
    const embeddings = normalTensor(2, 3, 1);
    expect(() => head.forwardSync(embeddings, [0, 9])).toThrow(
      /^PrototypeHead\.forwardSync: .*labels/,
    );
    await expect(head.forward(embeddings, [0, 9])).rejects.toThrow(
      /^PrototypeHead\.forward: .*labels/,
    );
    head.dispose();
    await expect(head.forward(embeddings, [0, 1])).rejects.toMatchObject({
      code: 'ERR_DISPOSED',
    });
  });
});
