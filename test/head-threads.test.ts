import { createHash } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { PrototypeHead, setThreadCount, sgd } from '../lib/index.js';
import { onDevice } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import { normalTensor, randomLabels } from './helpers/random.js';

/*
 * Sums over the classes have sixteen parts at most. With more threads than that their columns are shared,
 * and a prototype is read once more to be updated.
 */

const IDENTITIES = 70_000;

afterAll(() => setThreadCount(2));

/** Of arrays that are too long to be shown where they differ. */
function digest(values: Float32Array) {
  return createHash('sha256').update(values).digest('hex');
}

describe.runIf(!onDevice)('more threads than parts of the classes', () => {
  it.each([
    ['columns that are no whole number of slices', 40, 150],
    ['a batch that takes several passes', 300, 600],
    ['a row narrower than a slice', 40, 19],
  ])('%s', (_, batch, dim) => {
    const run = (threads: number) => {
      setThreadCount(threads);
      using head = new PrototypeHead({
        identities: IDENTITIES,
        dim,
        loss: lossFamilies.qMargin(1.5, 32),
        optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
        seed: 3,
      });
      // The second one begins where the first one's update has left the prototypes.
      return [1, 2].map((seed) => {
        const { losses, gradEmbeddings, stats } = head.stepSync(
          normalTensor(batch, dim, seed),
          randomLabels(batch, IDENTITIES, seed),
        );
        return [
          digest(losses),
          digest(gradEmbeddings.data),
          { ...stats, scratchBytes: 0 },
        ];
      });
    };
    const one = run(1);
    for (const threads of [3, 17, 40]) expect(run(threads)).toEqual(one);
  });
});
