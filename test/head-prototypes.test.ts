import { describe, expect, it } from 'vitest';
import { PrototypeHead, qMargin, sgd, tensor } from '../lib/index.js';
import { normalTensor, randomLabels } from './helpers/random.js';

const [identities, dim] = [30, 19] as const;

function makeHead(): PrototypeHead {
  return new PrototypeHead({
    identities,
    dim,
    loss: qMargin({ alpha: 1.5, scale: 16 }),
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
    seed: 7,
  });
}

describe('identities that are given more than once', () => {
  it('are read as often', async () => {
    using head = makeHead();
    const { data } = await head.prototypes();
    const asked = Int32Array.of(4, 29, 4, 4, 0);
    const read = await head.prototypes(asked);
    expect(read.dims).toEqual([5, dim]);
    asked.forEach((identity, place) => {
      const row = data.subarray(identity * dim, (identity + 1) * dim);
      expect(read.data.subarray(place * dim, (place + 1) * dim)).toEqual(row);
    });
  });

  it('are set to their last row', async () => {
    // Many, so that the blocks of a device could overtake each other.
    const count = 200;
    const rows = normalTensor(count, dim, 3);
    const chosen = randomLabels(count, 20, 4);
    const last = [...new Map(Array.from(chosen, (id, at) => [id, at]))];
    using head = makeHead();
    using twin = makeHead();
    const batch = [normalTensor(9, dim, 5), randomLabels(9, 20, 6)] as const;
    for (const one of [head, twin]) one.stepSync(...batch);
    await head.setPrototypes(rows, chosen);
    await twin.setPrototypes(
      tensor(
        Float32Array.from(
          last.flatMap(([, at]) => [
            ...rows.data.subarray(at * dim, (at + 1) * dim),
          ]),
        ),
        [last.length, dim],
      ),
      Int32Array.from(last, ([identity]) => identity),
    );
    expect(await head.prototypes()).toEqual(await twin.prototypes());
    // Norms, shadow and optimiser state follow.
    const { stats: _, ...expected } = twin.stepSync(...batch);
    expect(head.stepSync(...batch)).toMatchObject(expected);
    expect(await head.prototypes()).toEqual(await twin.prototypes());
  });

  it('do not pass a row that is wrong, though a later one replaces it', async () => {
    using head = makeHead();
    const before = await head.prototypes();
    const rows = normalTensor(2, dim, 8);
    rows.data[3] = Number.NaN;
    await expect(
      head.setPrototypes(rows, Int32Array.of(5, 5)),
    ).rejects.toMatchObject({ code: 'ERR_NON_FINITE' });
    expect(await head.prototypes()).toEqual(before);
  });
});
