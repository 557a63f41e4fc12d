import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  entmaxHead,
  PrototypeHead,
  sgd,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { cornerTensor, normalTensor } from './helpers/random.js';
import { referenceCosines } from './helpers/reference-head.js';

function headOf(prototypes: Tensor): PrototypeHead {
  const [identities, dim] = prototypes.dims as [number, number];
  return new PrototypeHead({
    identities,
    dim,
    loss: entmaxHead(),
    optimizer: sgd(),
    prototypes,
  });
}

/** Full float64 search: descending cosine, then ascending identity. */
function bruteForce(prototypes: Tensor, queries: Tensor, k: number) {
  const dim = prototypes.dims[1]!;
  const best = referenceCosines(queries.data, prototypes.data, dim).map((row) =>
    row
      .map((cosine, identity) => ({ cosine, identity }))
      .sort((a, b) => b.cosine - a.cosine || a.identity - b.identity)
      .slice(0, k),
  );
  return {
    identities: Int32Array.from(best.flat(), (match) => match.identity),
    cosines: Float32Array.from(best.flat(), (match) => match.cosine),
  };
}

describe('nearest', () => {
  it.each([
    [1, 1, 1, 1],
    [3, 19, 7, 5],
    [5, 19, 7, 19],
    [2, 989, 111, 10],
    [19, 5000, 33, 3],
    [1, 5000, 5, 5000],
  ] as const)('%d queries among %d of width %d, k %d', async (n, c, d, k) => {
    const prototypes = normalTensor(c, d, 1);
    const queries = normalTensor(n, d, 2);
    using head = headOf(prototypes);
    const expected = bruteForce(prototypes, queries, k);
    const received = await head.nearest(queries, { k });
    expect(received.identities).toEqual(expected.identities);
    received.cosines.forEach((cosine, i) => {
      expect(Math.abs(cosine - expected.cosines[i]!)).toBeLessThanOrEqual(6e-8);
    });
    expect(head.nearestSync(queries, { k })).toEqual(received);
  });

  // Corners of a cube: exact cosines of which many are equal.
  test.prop(
    [fc.constantFrom(1, 2, 111, 989, 3000), fc.nat({ max: 1e6 }), fc.nat()],
    { numRuns: 15 },
  )('gives ties to the smaller identity', (identities, seed, wish) => {
    const prototypes = cornerTensor(identities, seed);
    const queries = cornerTensor(3, seed + 1);
    const k = 1 + (wish % Math.min(identities, 40));
    using head = headOf(prototypes);
    expect(head.nearestSync(queries, { k })).toEqual(
      bruteForce(prototypes, queries, k),
    );
  });

  it('orders duplicates by identity, whatever their length', () => {
    // Eight directions, each many times, at lengths that are powers of two.
    const directions = cornerTensor(8, 3);
    const data = new Float32Array(2000 * 64);
    for (let j = 0; j < 2000; j += 1) {
      const length = 2 ** ((j % 7) - 3);
      for (let k = 0; k < 64; k += 1) {
        data[64 * j + k] = length * directions.data[64 * (j % 8) + k]!;
      }
    }
    using head = headOf(tensor(data, [2000, 64]));
    const query = tensor(directions.data.subarray(64 * 5, 64 * 6), [1, 64]);
    const { identities, cosines } = head.nearestSync(query, { k: 20 });
    expect([...identities]).toEqual(
      Array.from({ length: 20 }, (_, i) => 5 + 8 * i),
    );
    expect(new Set(cosines)).toEqual(new Set([1]));
  });

  it('tells prototypes apart that differ in the last bits of float32', () => {
    // Cosines with (1, 0) of 1 − ε²/2: equal in float32, different in float64.
    const tilts = [3e-5, 1e-5, 2e-5, 4e-5];
    using head = headOf(
      tensor(Float32Array.from(tilts.flatMap((tilt) => [1, tilt])), [4, 2]),
    );
    const query = tensor(Float32Array.of(2, 0), [1, 2]);
    expect([...head.nearestSync(query, { k: 4 }).identities]).toEqual([
      1, 2, 0, 3,
    ]);
  });

  it('returns one identity by default, and reads float16', () => {
    const prototypes = cornerTensor(50, 9);
    using head = headOf(prototypes);
    const one = tensor(prototypes.data.slice(64 * 7, 64 * 8), [1, 64]);
    const half = {
      type: 'float16',
      data: Uint16Array.from(one.data, (value) =>
        value > 0 ? 0x3c00 : 0xbc00,
      ),
      dims: [1, 64],
    };
    expect([...head.nearestSync(one).identities]).toEqual([7]);
    expect(head.nearestSync(half)).toEqual(head.nearestSync(one));
  });
});
