import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { memory, type Tensor, type TensorLike } from '../../lib/index.js';
import {
  type NormalizeScoresOptions,
  normalizeScores,
  parseTrials,
  type TrialList,
  trialCosines,
} from '../../lib/verification/index.js';
import { normalTensor, permutation, reorderRows } from '../helpers/random.js';
import { uniform } from './reference.js';

/** Trials between random rows of [rows]. */
function randomTrials(count: number, rows: number, seed: number): TrialList {
  const next = uniform(seed);
  const row = () => Math.floor(next() * rows);
  return {
    genuine: new Uint8Array(count),
    enrolment: Int32Array.from({ length: count }, row),
    test: Int32Array.from({ length: count }, row),
  };
}

/** Unit rows in float64. */
function units({ data, dims }: Tensor): Float64Array[] {
  const [rows = 0, dim = 0] = dims;
  return Array.from({ length: rows }, (_, row) => {
    const values = Float64Array.from(data.subarray(row * dim, (row + 1) * dim));
    const norm = Math.hypot(...values);
    return values.map((value) => value / norm);
  });
}

const dot = (a: Float64Array, b: Float64Array) =>
  a.reduce((sum, value, k) => sum + value * b[k]!, 0);

/** AS-norm as written down, dense and in float64. */
function reference(
  scores: ArrayLike<number>,
  { enrolment, test }: TrialList,
  embeddings: Tensor,
  cohort: Tensor,
  top: number,
): number[] {
  const strangers = units(cohort);
  const statistics = units(embeddings).map((unit) => {
    const largest = strangers
      .map((stranger) => dot(unit, stranger))
      .sort((a, b) => b - a)
      .slice(0, top);
    const mean = largest.reduce((sum, c) => sum + c, 0) / largest.length;
    const squares = largest.reduce((sum, c) => sum + (c - mean) ** 2, 0);
    return { mean, deviation: Math.sqrt(squares / largest.length) };
  });
  return Array.from(scores, (score, trial) => {
    const standard = (row: number) =>
      (score - statistics[row]!.mean) / statistics[row]!.deviation;
    return (standard(enrolment[trial]!) + standard(test[trial]!)) / 2;
  });
}

/** A set to normalise: embeddings, cohort, trials and their cosines. */
async function makeSet(
  [rows, members, dim, count]: readonly [number, number, number, number],
  seed = 1,
) {
  const embeddings = normalTensor(rows, dim, seed);
  const cohort = normalTensor(members, dim, seed + 1);
  const trials = randomTrials(count, rows, seed + 2);
  const scores = await trialCosines(embeddings, { trials });
  return { embeddings, cohort, trials, scores };
}

describe('normalizeScores', () => {
  it.each([
    [[2, 2, 2, 3], 2],
    [[7, 19, 5, 30], 2],
    [[19, 111, 33, 111], 19],
    [[50, 989, 64, 500], 300],
    [[50, 300, 64, 500], 989], // capped
  ] as const)('is AS-norm in float64: %j, top %d', async (sizes, top) => {
    const set = await makeSet(sizes);
    const expected = reference(
      set.scores,
      set.trials,
      set.embeddings,
      set.cohort,
      top,
    );
    const received = await normalizeScores({ ...set, top });
    expect(received).toBeInstanceOf(Float64Array);
    expect(received.length).toBe(sizes[3]);
    received.forEach((score, trial) => {
      // Cosines are rounded by 3e-8, deviations are about 0.01 and more.
      const tolerance = 2e-5 * Math.max(1, Math.abs(expected[trial]!));
      expect(Math.abs(score - expected[trial]!)).toBeLessThan(tolerance);
    });
  });

  it('goes on where one call of the addon ends', async () => {
    // 2^18 cosines in a call: 873 rows at top 300.
    const set = await makeSet([2000, 310, 8, 3000]);
    const expected = reference(
      set.scores,
      set.trials,
      set.embeddings,
      set.cohort,
      300,
    );
    const received = await normalizeScores(set); // 300 is the default
    received.forEach((score, trial) => {
      expect(score).toBeCloseTo(expected[trial]!, 4);
    });
  });

  it('uses the deviation of a population', async () => {
    // Cosines 0.6 and 0.28 with the one row: μ 0.44, σ 0.16 (a sample would have 0.226).
    const received = await normalizeScores({
      scores: Float64Array.of(1, 0.44),
      trials: parseTrials('1 0 0\n0 0 0\n'),
      embeddings: { data: Float32Array.of(1, 0), dims: [1, 2] },
      cohort: {
        data: Float32Array.of(0.6, 0.8, 0.28, 0.96, -1, 0),
        dims: [3, 2],
      },
      top: 2,
    });
    expect(received[0]).toBeCloseTo(3.5, 5);
    expect(received[1]).toBeCloseTo(0, 5);
  });

  test.prop([fc.nat(), fc.integer({ min: 2, max: 20 })], { numRuns: 25 })(
    'keeps its laws',
    async (seed, top) => {
      const set = await makeSet([12, 20, 6, 40], seed);
      const received = await normalizeScores({ ...set, top });
      const { genuine, enrolment, test } = set.trials;
      // Symmetric in the sides.
      const trials = { genuine, enrolment: test, test: enrolment };
      expect(await normalizeScores({ ...set, trials, top })).toEqual(received);
      // The cohort has no order.
      const cohort = reorderRows(set.cohort, permutation(20, seed));
      expect(await normalizeScores({ ...set, cohort, top })).toEqual(received);
      // Lengths do not matter.
      const longer = (tensor: Tensor) => ({
        ...tensor,
        data: tensor.data.map((value) => 4 * value),
      });
      expect(
        await normalizeScores({
          ...set,
          embeddings: longer(set.embeddings),
          cohort: longer(set.cohort),
          top,
        }),
      ).toEqual(received);
      // A trial's score rises in step with its cosine: s' is affine in s with a positive slope.
      const shifted = (by: number) =>
        normalizeScores({
          ...set,
          scores: Float64Array.from(set.scores, (score) => score + by),
          top,
        });
      const [once, twice] = [await shifted(0.25), await shifted(0.5)];
      received.forEach((score, trial) => {
        const rise = once[trial]! - score;
        expect(rise).toBeGreaterThan(0);
        expect((twice[trial]! - score) / rise).toBeCloseTo(2, 8);
      });
      // Whoever takes all of the cohort takes no more.
      expect(await normalizeScores({ ...set, top: 20 })).toEqual(
        await normalizeScores({ ...set, top: 10_000 }),
      );
    },
  );

  it("makes the cohort's own cosines standard: mean 0, deviation 1", async () => {
    // Row 0 with itself on both sides, scored with its cosines with the whole cohort.
    const embeddings = normalTensor(1, 16, 1);
    const cohort = normalTensor(400, 16, 2);
    const scores = Float64Array.from(units(cohort), (stranger) =>
      dot(units(embeddings)[0]!, stranger),
    );
    const trials = randomTrials(400, 1, 3);
    const received = await normalizeScores({
      scores,
      trials,
      embeddings,
      cohort,
      top: 400,
    });
    const mean = received.reduce((sum, score) => sum + score, 0) / 400;
    const squares = received.reduce((sum, s) => sum + (s - mean) ** 2, 0);
    expect(mean).toBeCloseTo(0, 6);
    expect(Math.sqrt(squares / 400)).toBeCloseTo(1, 6);
  });

  it('finds rows by name, and reads float16 on both sides', async () => {
    // 1, 0.5, 0.25, 2 and their negatives in binary16.
    const bits = [
      0x3c00, 0xb800, 0x3400, 0x4000, 0xbc00, 0x3800, 0xb400, 0xc000,
    ];
    const values = [1, -0.5, 0.25, 2, -1, 0.5, -0.25, -2];
    const order = Array.from({ length: 24 }, (_, i) => (i * 5 + (i >> 3)) % 8);
    const half = (from: number, rows: number): TensorLike => ({
      type: 'float16',
      data: Uint16Array.from(
        order.slice(from, from + 3 * rows),
        (i) => bits[i]!,
      ),
      dims: [rows, 3],
    });
    const full = (from: number, rows: number): TensorLike => ({
      data: Float32Array.from(
        order.slice(from, from + 3 * rows),
        (i) => values[i]!,
      ),
      dims: [rows, 3],
    });
    const shared = {
      scores: Float32Array.of(0.5, 0.25),
      trials: parseTrials('ann bob target\nbob cid nontarget\n'),
      names: ['cid', 'bob', 'ann'],
      top: 3,
    };
    const [embeddings, cohort] = [full(0, 3), full(9, 5)];
    const expected = await normalizeScores({ ...shared, embeddings, cohort });
    const named = await normalizeScores({
      ...shared,
      embeddings: half(0, 3),
      cohort: half(9, 5),
    });
    expect(named).toEqual(expected);
    const trials = parseTrials('1 2 1\n0 1 0\n');
    const { names: _, ...numbered } = shared;
    expect(
      await normalizeScores({ ...numbered, trials, embeddings, cohort }),
    ).toEqual(expected);
  });

  it('reads no row that is in no trial, and names those it cannot use', async () => {
    const set = await makeSet([6, 9, 4, 1]);
    const trials = parseTrials('1 2 4\n');
    const scores = Float32Array.of(0.5);
    const expected = await normalizeScores({ ...set, trials, scores, top: 3 });
    const { data, dims } = set.embeddings;
    data.fill(Number.NaN, 0, 8);
    const options = { ...set, trials, scores, top: 3 };
    expect(await normalizeScores(options)).toEqual(expected);
    data.fill(0, 16, 20);
    await expect(normalizeScores(options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/^normalizeScores: .*embeddings row 4\b/),
    });
    data[16] = Number.POSITIVE_INFINITY;
    await expect(normalizeScores(options)).rejects.toMatchObject({
      code: 'ERR_NON_FINITE',
      message: expect.stringMatching(/^normalizeScores: .*embeddings row 4\b/),
    });
    data.fill(1, 0, 24);
    for (const [bad, code] of [
      [0, 'ERR_INVALID_ARGUMENT'],
      [Number.NaN, 'ERR_NON_FINITE'],
    ] as const) {
      set.cohort.data.fill(bad, 28, 32);
      await expect(
        normalizeScores({ ...options, embeddings: { data, dims } }),
      ).rejects.toMatchObject({
        code,
        message: expect.stringMatching(/^normalizeScores: .*cohort row 7\b/),
      });
    }
  });

  it('refuses a cohort that repeats itself', async () => {
    const { embeddings, trials, scores } = await makeSet([5, 2, 3, 8]);
    const one = normalTensor(1, 3, 9).data;
    // One direction, at one length or at many: then cosines may differ in their last bits.
    for (const length of [() => 1, (row: number) => 1 + row / 7]) {
      const cohort = Float32Array.from(
        { length: 60 },
        (_, i) => length(Math.floor(i / 3)) * one[i % 3]!,
      );
      await expect(
        normalizeScores({
          scores,
          trials,
          embeddings,
          cohort: { data: cohort, dims: [20, 3] },
          top: 20,
        }),
      ).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(
          /^normalizeScores: expected the cohort's largest cosines with embeddings row \d to have a standard deviation >= 0.000001 but received/,
        ),
      });
    }
  });

  it('has no scores of a list without trials', async () => {
    const set = await makeSet([3, 4, 2, 0]);
    expect(await normalizeScores(set)).toHaveLength(0);
  });

  it('leaves its arguments as they were, and no head behind', async () => {
    const set = await makeSet([30, 50, 12, 100]);
    const copies = structuredClone(set);
    const before = memory().host;
    const first = await normalizeScores(set);
    expect(set).toEqual(copies);
    expect(memory().host).toBe(before);
    const scoring = normalizeScores(set);
    set.cohort.data.fill(0);
    set.embeddings.data.fill(Number.NaN);
    set.scores.fill(7);
    expect(await scoring).toEqual(first);
    await expect(normalizeScores(set)).rejects.toThrow('cohort row 0');
    expect(memory().host).toBe(before);
  });

  it('stops when it is told to', async () => {
    const set = await makeSet([4000, 2000, 64, 4000]);
    const before = memory().host;
    const controller = new AbortController();
    const reason = new Error('enough');
    const { signal } = controller;
    const scoring = normalizeScores({ ...set, signal });
    controller.abort(reason);
    await expect(scoring).rejects.toBe(reason);
    expect(memory().host).toBe(before);
  });

  it('refuses wrong arguments', async () => {
    const set = await makeSet([4, 5, 3, 2]);
    const reason = new Error('enough');
    await expect(
      normalizeScores({ ...set, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    for (const [change, message, code] of [
      [{ scores: [1, 2] }, 'scores to be a Float32Array or a Float64Array'],
      [{ scores: Float32Array.of(1) }, 'scores to be one score for each of 2'],
      [
        { scores: Float32Array.of(1, Number.NaN) },
        'scores[1] to be a finite score',
        'ERR_NON_FINITE',
      ],
      [{ trials: undefined }, 'trials to be a trial list'],
      [{ names: ['a'] }, 'names to be one name for each of 4 rows'],
      [{ embeddings: undefined }, 'embeddings to be a tensor'],
      [{ cohort: null }, 'cohort to be a tensor'],
      [
        { cohort: normalTensor(5, 4, 1) },
        'cohort.dims to be [M, 3] with M >= 2, as wide as the embeddings but received [5, 4]',
      ],
      [{ cohort: normalTensor(1, 3, 1) }, 'cohort.dims to be [M, 3]'],
      [{ top: 1 }, 'top to be'],
      [{ top: 2.5 }, 'top to be'],
      [{ top: Number.NaN }, 'top to be'],
      [{ topN: 3 }, 'options to be made of scores, trials, names'],
      [{ signal: {} }, 'options.signal to be an AbortSignal'],
    ] as const) {
      const options = {
        ...set,
        ...change,
      } as unknown as NormalizeScoresOptions;
      await expect(normalizeScores(options)).rejects.toMatchObject({
        code: code ?? 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(
          `normalizeScores: expected ${message}`,
        ),
      });
    }
    await expect(normalizeScores(undefined as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  });

  it('refuses embeddings whose memory a getter takes away', async () => {
    const set = await makeSet([4, 5, 3, 2]);
    const cohort = {
      get data() {
        const { buffer } = set.embeddings.data;
        structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
        return set.cohort.data;
      },
      dims: set.cohort.dims,
    };
    await expect(normalizeScores({ ...set, cohort })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('embeddings.data'),
    });
  });
});
