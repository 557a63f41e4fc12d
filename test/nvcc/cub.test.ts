import { describe, expect, it } from 'vitest';
import {
  type Device,
  entmaxHead,
  PrototypeHead,
  sgd,
} from '../../lib/index.js';
import { contract, relativeError } from '../helpers/contract.js';
import { normalTensor, randomLabels } from '../helpers/random.js';

/* Sorting, adding up and selecting by CUB, which takes other kernels for short lists than for long ones:
   one block sorts up to 4,864 pairs, more are sorted by many. */

interface Sizes {
  readonly batch: number;
  readonly identities: number;
}

/** Where prototypes go in a step in which every class is in the support of every row. */
async function moves(device: Device, { batch, identities }: Sizes) {
  const prototypes = normalTensor(identities, 8, 1);
  using head = new PrototypeHead({
    ...{ identities, dim: 8, prototypes, device },
    loss: entmaxHead({ alpha: 1.25, scale: 0.5 }),
    optimizer: sgd({ learningRate: 100 }),
  });
  const { stats } = head.stepSync(
    normalTensor(batch, 8, 2),
    randomLabels(batch, identities, 3),
  );
  const { data } = await head.prototypes();
  return {
    moves: Float64Array.from(data, (value, k) => value - prototypes.data[k]!),
    stats,
  };
}

describe('a step whose pairs are all of the support', () => {
  it.each<Sizes>([
    { batch: 1, identities: 1 },
    { batch: 19, identities: 256 },
    { batch: 19, identities: 257 },
    { batch: 37, identities: 989 },
  ])('of $batch rows and $identities classes', async (sizes) => {
    const expected = await moves('cpu', sizes);
    const received = await moves('cuda', sizes);
    // Besides the label of every row.
    const others = sizes.batch * (sizes.identities - 1);
    expect(received.stats.survivors).toBe(others);
    expect(received.stats.overflowRows).toBe(0);
    expect(relativeError(received.moves, expected.moves)).toBeLessThanOrEqual(
      contract.headGradient,
    );
  });
});
