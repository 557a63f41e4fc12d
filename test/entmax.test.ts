import { describe, expect, it } from 'vitest';
import {
  entmax,
  entmaxSync,
  type FloatsLike,
  sparseEntmax,
  sparseEntmaxSync,
  type Tensor,
  tensor,
} from '../lib/index.js';
import { float16Values } from '../lib/io/float16.js';
import { contract, largestDifference } from './helpers/contract.js';
import { normalTensor } from './helpers/random.js';
import { referencePosterior } from './helpers/reference.js';

const allOrders = [1, 1.05, 1.25, 4 / 3, 1.5, 2, 3, 10, 100];

/** One row of logits. */
function row(...logits: number[]): Tensor {
  return tensor(Float32Array.from(logits), [1, logits.length]);
}

describe.each(allOrders)('entmax, α %d', (alpha) => {
  it.each([
    [1, 1],
    [19, 1],
    [1, 19],
    [7, 111],
    [3, 989],
    [989, 2],
  ] as const)('%d rows of %d classes', async (rows, classes) => {
    const logits = normalTensor(rows, classes, 5, 3);
    const reference = normalTensor(1, classes, 6).data.map(Math.exp);
    for (const q of [null, reference]) {
      const options = { alpha, reference: q };
      const received = await entmax(logits, options);
      expect(received.dims).toEqual([rows, classes]);
      expect(entmaxSync(logits, options)).toEqual(received);
      expect(await sparseEntmax(logits, options)).toEqual(
        sparseEntmaxSync(logits, options),
      );
      for (let i = 0; i < rows; i += 1) {
        const part = <T extends { subarray(a: number, b: number): T }>(
          all: T,
        ) => all.subarray(i * classes, (i + 1) * classes);
        const expected = referencePosterior(
          [...part(logits.data)],
          alpha,
          q === null ? undefined : [...q],
        ).posterior;
        expect(
          largestDifference(part(received.data), expected),
        ).toBeLessThanOrEqual(contract.posterior);
      }
    }
  });

  it('shares ties equally', () => {
    expect([...entmaxSync(row(2, 2, -120, 2, 2), { alpha }).data]).toEqual([
      0.25, 0.25, 0, 0.25, 0.25,
    ]);
    const all = entmaxSync(row(...new Array<number>(37).fill(-1.5)), { alpha });
    for (const p of all.data) {
      expect(Math.abs(p - 1 / 37)).toBeLessThanOrEqual(contract.posterior);
      expect(p).toBe(all.data[0]);
    }
  });

  it('takes +0 and −0 for the same number', () => {
    const p = entmaxSync(row(0, -0, 1, -0), { alpha }).data;
    expect([p[1], p[3]]).toEqual([p[0], p[0]]);
    expect(entmaxSync(row(0, 0, 1, 0), { alpha }).data).toEqual(p);
  });

  it('survives logits as far apart as float32 allows', () => {
    expect([...entmaxSync(row(3e38, -3e38, 0), { alpha }).data]).toEqual([
      1, 0, 0,
    ]);
    expect([...entmaxSync(row(-3e38, -3e38), { alpha }).data]).toEqual([
      0.5, 0.5,
    ]);
  });

  it('takes measures of very different sizes', () => {
    const size = alpha > 10 ? 1e2 : 1e6;
    const reference = Float32Array.of(1 / size, size, 1);
    const p = entmaxSync(row(0.5, -0.5, 0), { alpha, reference }).data;
    const expected = referencePosterior([0.5, -0.5, 0], alpha, [
      ...reference,
    ]).posterior;
    expect(largestDifference(p, expected)).toBeLessThanOrEqual(
      contract.posterior,
    );
  });

  it('takes a measure as numbers, an array or a tensor', () => {
    const run = (reference: FloatsLike) =>
      entmaxSync(row(0.5, -0.5, 0), { alpha, reference }).data;
    const numbers = [0.3, 1.5, 1];
    const data = Float32Array.from(numbers);
    expect(run(numbers)).toEqual(run(data));
    expect(run(tensor(data, [3]))).toEqual(run(data));
  });
});

describe('entmax', () => {
  it('has known values', () => {
    expect([...entmaxSync(row(2, 1, -1), { alpha: 2 }).data]).toEqual([
      1, 0, 0,
    ]);
    expect([...entmaxSync(row(0.5, 0.25), { alpha: 2 }).data]).toEqual([
      0.625, 0.375,
    ]);
    // Two classes at ±a/2: p = ((√(2 − a²/4) ± a/2)/2)², here with a = 1.
    const root = Math.sqrt(2 - 1 / 4);
    const p = entmaxSync(row(1, 0)).data;
    expect(p[0]).toBeCloseTo(((root + 0.5) / 2) ** 2, 6);
    expect(p[1]).toBeCloseTo(((root - 0.5) / 2) ** 2, 6);
  });

  it('reads float16', () => {
    const values = float16Values();
    // 1, −0.5, subnormal, 0, 2.5, −0
    const bits = Uint16Array.of(0x3c00, 0xb800, 0x0001, 0x0000, 0x4100, 0x8000);
    const half = { type: 'float16', data: bits, dims: [2, 3] };
    const single = tensor(
      Float32Array.from(bits, (b) => values[b]!),
      [2, 3],
    );
    for (const alpha of [1, 1.5, 3]) {
      expect(entmaxSync(half, { alpha })).toEqual(
        entmaxSync(single, { alpha }),
      );
      expect(sparseEntmaxSync(half, { alpha })).toEqual(
        sparseEntmaxSync(single, { alpha }),
      );
    }
  });

  it.each([
    [0, 5],
    [3, 0],
    [0, 0],
  ])('gives an empty result for [%d, %d]', async (rows, classes) => {
    const logits = tensor(new Float32Array(0), [rows, classes]);
    expect(await entmax(logits)).toEqual(logits);
    const sparse = await sparseEntmax(logits);
    expect([...sparse.rowOffsets]).toEqual(new Array(rows + 1).fill(0));
    expect(sparse.columns.length + sparse.values.length).toBe(0);
    expect(sparse.dims).toEqual([rows, classes]);
  });

  it('is α = 1.5 by default', () => {
    const logits = normalTensor(2, 9, 1);
    expect(entmaxSync(logits)).toEqual(entmaxSync(logits, { alpha: 1.5 }));
  });

  it('reads its input before it returns', async () => {
    const logits = row(1, 0, 0.5);
    const expected = entmaxSync(logits);
    const promise = entmax(logits);
    logits.data.fill(Number.NaN);
    expect(await promise).toEqual(expected);
  });
});
