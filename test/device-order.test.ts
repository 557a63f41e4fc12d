import { describe, expect, it } from 'vitest';
import {
  adagrad,
  entmaxBackwardSync,
  entmaxSync,
  type LossSpecification,
  type OptimizerSpecification,
  PrototypeHead,
  sgd,
  sparseEntmaxSync,
} from '../lib/index.js';
import {
  emulated,
  filterTiers,
  orderSeeds,
  withEmulation,
} from './helpers/emulation.js';
import { lossFamilies, lossOnCosines } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';

/*
 * Blocks, warps and lanes may run in any order, and memory that nothing has written may hold
 * anything: the emulated device varies both with a seed, and interrupts threads between barriers where
 * it interprets kernels. Every result is bitwise the same.
 */

/** Runs under every seed and compares the bytes of all arrays that come back. */
function expectOneResult(run: () => ArrayBufferView[]): void {
  const bytes = (seed: number) =>
    withEmulation({ seed, interval: 13 * seed }, run).map((view) =>
      Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString(
        'base64',
      ),
    );
  const [first, ...others] = orderSeeds.map(bytes);
  for (const other of others) expect(other).toEqual(first);
}

describe.runIf(emulated)('any order of execution', () => {
  it.each([
    [7, 111],
    [2, 20_000],
  ])('posteriors [%d, %d]', (rows, classes) => {
    const logits = normalTensor(rows, classes, 1, 2);
    const gradient = normalTensor(rows, classes, 2);
    for (const alpha of [1, 1.25, 1.5, 3]) {
      expectOneResult(() => {
        const posterior = entmaxSync(logits, { alpha });
        const sparse = sparseEntmaxSync(logits, { alpha });
        const back = entmaxBackwardSync(gradient, posterior, { alpha });
        return [posterior.data, sparse.columns, sparse.values, back.data];
      });
    }
  });

  it('losses', () => {
    const cosines = normalTensor(19, 513, 3, 0.2);
    const labels = randomLabels(19, 513, 3);
    for (const alpha of [1, 1.25, 2]) {
      expectOneResult(() => {
        const loss = lossFamilies.qMargin(alpha, 16);
        const result = lossOnCosines(loss, cosines, labels);
        const { data } = result.backwardSync();
        return [result.loss.data, result.threshold, result.supportSize, data];
      });
    }
  });

  /** Two steps of a head, its prototypes, an identification and a posterior. */
  function headRun(
    loss: LossSpecification,
    optimizer: OptimizerSpecification,
    scratchBudget: number,
    filter: (typeof filterTiers)[number],
  ) {
    const [identities, dim, batch] = [519, 33, 19];
    const prototypes = normalTensor(identities, dim, 4);
    const labels = randomLabels(batch, identities, 5);
    const embeddings = clusteredEmbeddings(prototypes, labels, 1, 6);
    using head = new PrototypeHead({
      identities,
      dim,
      loss,
      optimizer,
      prototypes,
      scratchBudget,
      filter,
    });
    const first = head.stepSync(embeddings, labels);
    const second = head.stepSync(embeddings, labels);
    const found = head.nearestSync(embeddings, { k: 19 });
    const posterior = head.posteriorSync(embeddings, labels);
    return [
      ...[first, second].flatMap((result) => [
        result.losses,
        result.gradEmbeddings.data,
        result.supportSize,
        Float64Array.from(Object.values(result.stats)),
      ]),
      found.identities,
      found.cosines,
      posterior.rowOffsets,
      posterior.columns,
      posterior.values,
    ];
  }

  type Case = [name: string, alpha: number, scale: number, budget: number];
  const softmaxRows: Case = ['softmax rows', 1, 24, 1 << 24];
  describe.each(filterTiers)('a head, %s', (filter) => {
    it.each<Case>([
      ['sparse rows', 1.25, 24, 1 << 24],
      // No filter has a part in them.
      ...(filter === 'simt' ? [softmaxRows] : []),
      ['rows that overflow', 1.05, 16, 0],
      ['rows of both kinds', 1.25, 24, 0],
      ['steep posteriors', 3, 4, 1 << 24],
    ])('%s', (__, alpha, scale, budget) => {
      const loss = lossFamilies.qMargin(alpha, scale);
      // The update knows nothing of the filter: the second optimizer with one is enough.
      const optimizers = [sgd({ momentum: 0.9 }), adagrad()];
      for (const optimizer of optimizers.slice(filter === 'simt' ? 0 : 1)) {
        expectOneResult(() => headRun(loss, optimizer, budget, filter));
      }
    });
  });
});
