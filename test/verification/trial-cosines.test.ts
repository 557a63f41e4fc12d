import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  detPlot,
  eer,
  minDcf,
  parseTrials,
  scoreTrials,
  summarize,
  type TrialList,
  tarAtFar,
  trialCosines,
  trialScoresFrom,
  trialScoresFromList,
} from '../../lib/verification/index.js';
import { normalTensor, uniform } from '../helpers/random.js';
import { anyScores, cosine } from './reference.js';

/** Trials between random rows; a list of its own may repeat pairs and compare a row with itself. */
function randomTrials(count: number, rows: number, seed: number): TrialList {
  const next = uniform(seed);
  const draw = (limit: number) => () => Math.floor(next() * limit);
  return {
    genuine: Uint8Array.from({ length: count }, draw(2)),
    enrolment: Int32Array.from({ length: count }, draw(rows)),
    test: Int32Array.from({ length: count }, draw(rows)),
  };
}

describe('trialCosines', () => {
  it.each([
    [1, 1, 1],
    [7, 19, 111],
    [111, 128, 989],
    [300, 3, 5000],
  ])('is the float64 cosine, rounded: %d × %d, %d trials', async (n, d, t) => {
    const embeddings = normalTensor(n, d, 1);
    const trials = randomTrials(t, n, 2);
    const scores = await trialCosines(embeddings, { trials });
    expect(scores).toBeInstanceOf(Float32Array);
    expect(scores.length).toBe(t);
    scores.forEach((score, trial) => {
      const { enrolment, test } = trials;
      const [i, j] = [enrolment[trial]!, test[trial]!];
      const exact = cosine(embeddings.data, d, i, j);
      expect(Math.abs(score - exact)).toBeLessThanOrEqual(6.1e-8);
      expect(Math.abs(score)).toBeLessThanOrEqual(1);
    });
  });

  test.prop([fc.nat(), fc.integer({ min: 1, max: 40 }), fc.nat({ max: 200 })], {
    numRuns: 30,
  })('gives the bits that scoreTrials counts', async (seed, rows, count) => {
    const embeddings = normalTensor(rows, 5, seed);
    const trials = randomTrials(count, rows, seed + 1);
    const scores = await trialCosines(embeddings, { trials });
    expect(trialScoresFromList(scores, trials)).toEqual(
      await scoreTrials(embeddings, { trials }),
    );
  });

  it('does not depend on the order of the sides', async () => {
    const embeddings = normalTensor(50, 33, 3);
    const { genuine, enrolment, test } = randomTrials(400, 50, 4);
    const trials = { genuine, enrolment: test, test: enrolment };
    expect(await trialCosines(embeddings, { trials })).toEqual(
      await trialCosines(embeddings, { trials: { genuine, enrolment, test } }),
    );
  });

  it('finds rows by name, and reads float16', async () => {
    // 1, 0, −2, 0.5 in binary16.
    const data = Uint16Array.of(0x3c00, 0, 0xc000, 0, 0, 0x3800);
    const embeddings = { type: 'float16', data, dims: [3, 2] };
    const trials = parseTrials('c a target\nb a nontarget\na a target\n');
    const names = ['a', 'b', 'c'];
    const scores = await trialCosines(embeddings, { trials, names });
    expect([...scores]).toEqual([0, -1, 1]);
  });

  it('has no scores of a list without trials', async () => {
    const embeddings = normalTensor(2, 3, 5);
    const trials = randomTrials(0, 2, 6);
    expect(await trialCosines(embeddings, { trials })).toHaveLength(0);
  });

  it('is not disturbed by arguments that change meanwhile', async () => {
    const embeddings = normalTensor(9, 4, 7);
    const trials = randomTrials(30, 9, 8);
    const expected = await trialCosines(embeddings, { trials });
    const scoring = trialCosines(embeddings, { trials });
    embeddings.data.fill(Number.NaN);
    trials.enrolment.fill(-1);
    expect(await scoring).toEqual(expected);
  });

  it('refuses wrong arguments', async () => {
    const embeddings = normalTensor(3, 2, 9);
    const trials = parseTrials('1 0 1\n');
    const nan = { data: Float32Array.of(1, Number.NaN), dims: [2, 1] };
    const call = (...args: unknown[]) =>
      (trialCosines as (...args: unknown[]) => Promise<unknown>)(...args);
    for (const [args, message, code] of [
      [[null, { trials }], 'embeddings to be a tensor'],
      [[{ ...embeddings, dims: [6] }, { trials }], 'embeddings.dims'],
      [[embeddings], 'source to be { trials } or { trials, names }'],
      [[embeddings, {}], 'source to be { trials } or { trials, names }'],
      [[embeddings, { trials: {} }], 'trials to be a trial list'],
      [[embeddings, { trials, names: ['0'] }], 'names to be one name for'],
      [[embeddings, { trials: parseTrials('1 0 7') }], 'every name in trials'],
      [[embeddings, { trials }, { signal: 1 }], 'options.signal to be'],
      [[nan, { trials }], 'embeddings row 1', 'ERR_NON_FINITE'],
      [[{ ...nan, data: Float32Array.of(1, 0) }, { trials }], 'embeddings row'],
    ] as const) {
      await expect(call(...args)).rejects.toMatchObject({
        code: code ?? 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(/^trialCosines: expected /),
      });
      await expect(call(...args)).rejects.toThrow(message);
    }
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(call(embeddings, { trials }, { signal })).rejects.toBe(reason);
  });
});

describe('trialScoresFromList', () => {
  test.prop([anyScores, anyScores, fc.nat()])(
    'counts what trialScoresFrom counts, in any order',
    (genuine, impostor, seed) => {
      const next = uniform(seed);
      const trials = [
        ...genuine.map((score) => ({ score, flag: 1, key: next() })),
        ...impostor.map((score) => ({ score, flag: 0, key: next() })),
      ].sort((a, b) => a.key - b.key);
      const scores = Float64Array.from(trials, ({ score }) => score);
      const flags = Uint8Array.from(trials, ({ flag }) => flag);
      expect(trialScoresFromList(scores, { genuine: flags })).toEqual(
        trialScoresFrom(
          Float64Array.from(genuine),
          Float64Array.from(impostor),
        ),
      );
    },
  );

  it('is what metrics and plots take', async () => {
    const trials = randomTrials(500, 40, 1);
    const next = uniform(2);
    const scores = Float64Array.from(
      trials.genuine,
      (flag) => 3 * flag + 4 * next(),
    );
    const counted = trialScoresFromList(scores, trials);
    expect(summarize(counted).eer.rate).toBe(eer(counted).rate);
    expect(eer(counted).rate).toBeGreaterThan(0.05);
    expect(minDcf(counted).cost).toBeGreaterThan(0);
    expect(tarAtFar(counted, [0.1])[0]!.tar).toBeGreaterThan(0.5);
    expect(await detPlot([{ name: 'one', scores: counted }])).toMatch(/^<svg/);
  });

  it('leaves its arguments as they were', () => {
    const scores = Float32Array.of(3, 1, 2);
    trialScoresFromList(scores, { genuine: Uint8Array.of(1, 0, 1) });
    expect([...scores]).toEqual([3, 1, 2]);
  });

  it('refuses wrong arguments', () => {
    const genuine = Uint8Array.of(1, 0);
    const call = (...args: unknown[]) =>
      (trialScoresFromList as (...args: unknown[]) => unknown)(...args);
    for (const [args, message, code] of [
      [[[1, 2], { genuine }], 'scores to be a Float32Array or a Float64Array'],
      [
        [Float32Array.of(1), { genuine }],
        'scores to be one score for each of 2',
      ],
      [[Float32Array.of(1, 2)], 'trials to be a trial list, or { genuine }'],
      [[Float32Array.of(1, 2), { genuine: [1, 0] }], 'trials to be'],
      [
        [Float32Array.of(1, 2), { genuine: Uint8Array.of(0, 2) }],
        'trials.genuine[1] to be 0 or 1 but received 2',
      ],
      [
        [Float64Array.of(1, Number.NaN), { genuine }],
        'scores[1] to be a finite score but received NaN',
        'ERR_NON_FINITE',
      ],
    ] as const) {
      expect(() => call(...args)).toThrow(
        expect.objectContaining({
          code: code ?? 'ERR_INVALID_ARGUMENT',
          message: expect.stringContaining(
            `trialScoresFromList: expected ${message}`,
          ),
        }),
      );
    }
  });
});
