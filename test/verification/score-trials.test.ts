import { describe, expect, it } from 'vitest';
import { AlphaMarginError } from '../../lib/errors.js';
import { native } from '../../lib/native.js';
import {
  eer,
  minDcf,
  parseTrials,
  scoreTrials,
  type TrialScores,
  tarAtFar,
  trialScoresFrom,
} from '../../lib/verification/index.js';
import { cosine, embed, expand } from './reference.js';

/** All pairs in float64, sorted from highest to lowest. */
function reference({ embeddings, labels }: ReturnType<typeof embed>) {
  const [rows = 0, dim = 0] = embeddings.dims;
  const genuine: number[] = [];
  const impostor: number[] = [];
  for (let i = 0; i < rows; i += 1) {
    for (let j = i + 1; j < rows; j += 1) {
      const kind = labels[i] === labels[j] ? genuine : impostor;
      kind.push(cosine(embeddings.data, dim, i, j));
    }
  }
  return {
    genuine: genuine.sort((a, b) => b - a),
    impostor: impostor.sort((a, b) => b - a),
  };
}

/** Compares sorted scores one by one. */
function expectScores(
  scores: TrialScores,
  expected: { genuine: number[]; impostor: number[] },
  tolerance: number,
) {
  expect(scores.genuinePairs).toBe(expected.genuine.length);
  expect(scores.impostorPairs).toBe(expected.impostor.length);
  for (const kind of ['genuine', 'impostor'] as const) {
    const received = expand(scores, `${kind}Counts`);
    const largest = received.reduce(
      (most, score, index) =>
        Math.max(most, Math.abs(score - expected[kind][index]!)),
      0,
    );
    expect(received.length).toBe(expected[kind].length);
    expect(largest).toBeLessThanOrEqual(tolerance);
  }
}

describe('scoreTrials with labels', () => {
  it.each([
    [2, 1, 1],
    [3, 5, 2],
    [111, 19, 10],
    [130, 128, 40],
  ])('holds all pairs of %d × %d exactly', async (rows, dim, identities) => {
    const set = embed(rows, dim, identities);
    const scores = await scoreTrials(set.embeddings, set.source);
    expect(scores.resolution).toBe(0);
    expectScores(scores, reference(set), 2e-6);
  });

  it.each([
    [2, 3, 1],
    [111, 19, 10],
    [257, 64, 40],
  ])('counts all pairs of %d × %d in bins', async (rows, dim, identities) => {
    const set = embed(rows, dim, identities);
    const scores = await scoreTrials(set.embeddings, set.source, {
      exactPairs: 0,
    });
    expect(scores.resolution).toBe(2 ** -17);
    // A score is shown as its bin's lower edge; rounding may shift it by one bin.
    expectScores(scores, reference(set), 2 * scores.resolution + 2e-6);
  });

  it('finds the same metrics on both paths', async () => {
    const set = embed(900, 32, 90);
    const exact = await scoreTrials(set.embeddings, set.source);
    const binned = await scoreTrials(set.embeddings, set.source, {
      exactPairs: 0,
    });
    expect(eer(binned).rate).toBeCloseTo(eer(exact).rate, 4);
    expect(minDcf(binned).cost).toBeCloseTo(minDcf(exact).cost, 3);
    const rates = [0.1, 0.01, 0.001];
    const [a, b] = [tarAtFar(exact, rates), tarAtFar(binned, rates)];
    a.forEach(({ tar }, index) => {
      expect(tar).toBeGreaterThan(0);
      expect(b[index]!.tar!).toBeCloseTo(tar!, 2);
    });
  });

  it('crosses the border of its index lists', async () => {
    // 319,600 pairs: more than one list of 2^18 holds.
    const set = embed(800, 3, 50);
    const scores = await scoreTrials(set.embeddings, set.source);
    expect(scores.genuinePairs + scores.impostorPairs).toBe((800 * 799) / 2);
    expectScores(scores, reference(set), 2e-6);
  });

  it('switches to bins above exactPairs', async () => {
    const set = embed(20, 4, 5);
    const at = await scoreTrials(set.embeddings, set.source, {
      exactPairs: 190,
    });
    const above = await scoreTrials(set.embeddings, set.source, {
      exactPairs: 189,
    });
    expect(at.resolution).toBe(0);
    expect(above.resolution).toBeGreaterThan(0);
  });

  it('reads float16', async () => {
    // 1, −2, 0.5 in binary16; the cosines are those of the same numbers.
    const data = Uint16Array.of(0x3c00, 0xc000, 0x3800, 0x3c00, 0x3c00, 0x3c00);
    const scores = await scoreTrials(
      { type: 'float16', data, dims: [3, 2] },
      { labels: Int32Array.of(1, 1, 2) },
    );
    const plain = [1, -2, 0.5, 1, 1, 1];
    expect(expand(scores, 'genuineCounts')[0]).toBeCloseTo(
      cosine(plain, 2, 0, 1),
      5,
    );
    expect(expand(scores, 'impostorCounts')[0]).toBeCloseTo(
      cosine(plain, 2, 1, 2),
      5,
    );
  });

  it('finds duplicates at the top on both paths', async () => {
    const data = Float32Array.of(3, 4, 3, 4, -3, -4);
    const labels = Int32Array.of(5, 5, 9);
    for (const exactPairs of [0, 10]) {
      const scores = await scoreTrials(
        { data, shape: [3, 2] },
        { labels },
        { exactPairs },
      );
      expect(scores.thresholds[0]).toBeCloseTo(1, 4);
      expect(scores.thresholds.at(-1)).toBeCloseTo(-1, 4);
      expect(eer(scores).rate).toBe(0);
    }
  });

  it.each(['exactly', 'in bins'])(
    'leaves rows labelled −1 out, %s',
    async (path) => {
      const options = path === 'in bins' ? { exactPairs: 0 } : {};
      const { embeddings, labels } = embed(111, 19, 10);
      const places = Array.from(labels, (_, row) => row + (row >> 2) + 1);
      const rows = 1 + (places.at(-1) ?? 0) + 1;
      const data = new Float32Array(rows * 19).fill(Number.NaN);
      const given = new Int32Array(rows).fill(-1);
      places.forEach((place, row) => {
        const own = embeddings.data.subarray(row * 19, (row + 1) * 19);
        data.set(own, place * 19);
        given[place] = labels[row]!;
      });
      const withRest = { data, dims: [rows, 19] };
      expect(await scoreTrials(withRest, { labels: given }, options)).toEqual(
        await scoreTrials(embeddings, { labels }, options),
      );
      // A row that takes part is named by its place among all.
      const bad = places[50]!;
      data.fill(Number.NaN, bad * 19, bad * 19 + 1);
      await expect(
        scoreTrials(withRest, { labels: given }, options),
      ).rejects.toMatchObject({
        code: 'ERR_NON_FINITE',
        message: expect.stringMatching(
          new RegExp(`^scoreTrials: .*embeddings row ${bad}\\b`),
        ),
      });
      const none = new Int32Array(rows).fill(-1);
      const scores = await scoreTrials(withRest, { labels: none }, options);
      expect(scores.genuinePairs + scores.impostorPairs).toBe(0);
    },
  );

  it('counts the pairs that are left against exactPairs', async () => {
    const { embeddings, labels } = embed(20, 4, 5);
    labels[3] = -1; // 19 rows: 171 pairs
    for (const [exactPairs, exact] of [
      [171, true],
      [170, false],
    ] as const) {
      const scores = await scoreTrials(embeddings, { labels }, { exactPairs });
      expect(scores.resolution === 0).toBe(exact);
    }
  });

  it('reads float16 with rows left out', async () => {
    const data = Uint16Array.of(0x7e00, 0, 0x3c00, 0, 0x7c00, 0, 0, 0x3c00);
    const scores = await scoreTrials(
      { type: 'float16', data, dims: [4, 2] },
      { labels: Int32Array.of(-1, 3, -1, 3) },
    );
    expect([scores.genuinePairs, scores.impostorPairs]).toEqual([1, 0]);
    expect([...scores.thresholds]).toEqual([0]);
  });

  it.each([-2, -100, -(2 ** 31)])('refuses the label %d', async (label) => {
    const { embeddings } = embed(3, 2, 1);
    await expect(
      scoreTrials(embeddings, { labels: Int32Array.of(0, -1, label) }),
    ).rejects.toMatchObject({
      code: 'ERR_LABEL_RANGE',
      message: `scoreTrials: expected labels[2] to be >= 0, or -1 for a row that takes no part, but received ${label}`,
    });
  });

  it.each([0, 1])('has no pairs among %d rows', async (rows) => {
    const scores = await scoreTrials(
      { data: new Float32Array(2 * rows).fill(1), dims: [rows, 2] },
      { labels: new Int32Array(rows) },
    );
    expect(scores.genuinePairs + scores.impostorPairs).toBe(0);
    expect(() => eer(scores)).toThrow('scores.genuinePairs');
  });

  it('does not hold the pairs of a large set', async () => {
    // 2.9·10⁸ pairs: 1.1 GB if each were kept as a float32.
    const set = embed(24_000, 16, 2000);
    const before = process.memoryUsage().rss;
    let most = before;
    const sampler = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 5);
    const scores = await scoreTrials(set.embeddings, set.source);
    clearInterval(sampler);
    expect(scores.genuinePairs).toBe(2000 * ((12 * 11) / 2));
    expect(scores.genuinePairs + scores.impostorPairs).toBe(12_000 * 23_999);
    const allowed = 256e6 + native().backendInfo().threads * 8e6;
    expect(most - before).toBeLessThan(allowed);
  }, 120_000);
});

describe('scoreTrials with a list', () => {
  const set = embed(12, 7, 4);
  const names = Array.from({ length: 12 }, (_, row) => `rec${row}.wav`);
  const list = '1 rec0.wav rec4.wav\n0 rec3.wav rec11.wav\n0 rec5.wav rec5.wav';

  it('finds rows by name', async () => {
    const scores = await scoreTrials(set.embeddings, {
      trials: parseTrials(list),
      names,
    });
    const at = (i: number, j: number) => cosine(set.embeddings.data, 7, i, j);
    expectScores(
      scores,
      {
        genuine: [at(0, 4)],
        impostor: [at(3, 11), 1].sort((a, b) => b - a),
      },
      2e-6,
    );
  });

  it('reads names that are row numbers, and plain rows', async () => {
    const byName = await scoreTrials(set.embeddings, {
      trials: parseTrials(list),
      names,
    });
    const numbered = parseTrials(list.replaceAll(/rec|\.wav/g, ''));
    const byNumber = await scoreTrials(set.embeddings, { trials: numbered });
    const byRow = await scoreTrials(set.embeddings, {
      trials: {
        genuine: Uint8Array.of(1, 0, 0),
        enrolment: Int32Array.of(0, 3, 5),
        test: Int32Array.of(4, 11, 5),
      },
    });
    expect(byNumber).toEqual(byName);
    expect(byRow).toEqual(byName);
  });

  it.each([
    ['an unknown name', '1 rec0.wav other.wav', "'other.wav'", names],
    ['a name where rows are meant', '1 0 rec1.wav', "'rec1.wav'", undefined],
    ['a row out of range', '1 0 12', "'12'", undefined],
  ])('refuses %s', async (_, text, shown, given) => {
    await expect(
      scoreTrials(set.embeddings, {
        trials: parseTrials(text),
        ...(given && { names: given }),
      }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(shown),
    });
  });

  it('refuses damaged lists and names', async () => {
    const trials = parseTrials(list);
    const score = (change: object, given?: unknown) =>
      scoreTrials(set.embeddings, {
        trials: { ...trials, ...change },
        names: given ?? names,
      } as never);
    await expect(score({ genuine: Uint8Array.of(1) })).rejects.toThrow(
      'scoreTrials: expected trials to be a trial list',
    );
    await expect(score({ genuine: Uint8Array.of(1, 0, 2) })).rejects.toThrow(
      'scoreTrials: expected trials.genuine[2] to be 0 or 1 but received 2',
    );
    await expect(score({ test: Int32Array.of(0, 9, 1) })).rejects.toThrow(
      'scoreTrials: expected trials.test[1] to be a whole number >= 0 and < 5',
    );
    await expect(score({ enrolment: Int32Array.of(0, 0, -1) })).rejects.toThrow(
      'scoreTrials: expected trials.enrolment[2] to be',
    );
    await expect(score({}, names.slice(1))).rejects.toThrow(
      'scoreTrials: expected names to be one name for each of 12 rows',
    );
    await expect(score({}, names.fill('rec1.wav', 3, 4))).rejects.toThrow(
      'scoreTrials: expected names[3] to be a string that no row before it has',
    );
    names[3] = 'rec3.wav';
    await expect(score({ names: undefined })).rejects.toThrow(
      'scoreTrials: expected names to be left out',
    );
  });
});

describe('scoreTrials', () => {
  const set = embed(6, 3, 2);

  it.each([
    ['NaN', Number.NaN, 'ERR_NON_FINITE'],
    ['an infinity', Number.NEGATIVE_INFINITY, 'ERR_NON_FINITE'],
    ['zeros', 0, 'ERR_INVALID_ARGUMENT'],
  ])('names the row that holds %s', async (_, value, code) => {
    const data = set.embeddings.data.slice().fill(value, 12, 15);
    const embeddings = { data, dims: [6, 3] };
    for (const [source, options] of [
      [set.source, {}],
      [set.source, { exactPairs: 0 }],
      [{ trials: parseTrials('1 0 1') }, {}],
    ] as const) {
      const error = await scoreTrials(embeddings, source, options).catch(
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(AlphaMarginError);
      expect(error).toMatchObject({
        code,
        message: expect.stringMatching(/^scoreTrials: .*embeddings.* row 4\b/),
      });
    }
  });

  it('refuses wrong arguments', async () => {
    const labels = set.labels;
    const call = (...args: unknown[]) =>
      (scoreTrials as (...args: unknown[]) => Promise<unknown>)(...args);
    for (const [args, message] of [
      [[null, { labels }], 'embeddings to be a tensor'],
      [[{ data: [1], dims: [1, 1] }, { labels }], 'embeddings.data'],
      [[{ ...set.embeddings, dims: [18] }, { labels }], 'embeddings.dims'],
      [[{ ...set.embeddings, dims: [5, 3] }, { labels }], 'embeddings.dims'],
      [
        [{ data: new Float32Array(0), dims: [6, 0] }, { labels }],
        'embeddings.dims[1] to be at least 1',
      ],
      [[set.embeddings], 'source to be { labels } or { trials }'],
      [[set.embeddings, {}], 'source to be { labels } or { trials }'],
      [
        [set.embeddings, { labels, trials: parseTrials('1 0 1') }],
        'source to be { labels } or { trials }',
      ],
      [[set.embeddings, { labels: labels.slice(1) }], 'labels to be one label'],
      [[set.embeddings, { labels: '01' }], 'labels to be an Int32Array'],
      [[set.embeddings, set.source, { exactPairs: -1 }], 'exactPairs'],
      [[set.embeddings, set.source, { exactPairs: 1.5 }], 'exactPairs'],
      [[set.embeddings, set.source, { exactPairs: 2 ** 29 }], 'exactPairs'],
      [
        [set.embeddings, set.source, { signal: {} }],
        'options.signal to be an AbortSignal',
      ],
    ] as const) {
      await expect(call(...args)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(`scoreTrials: expected ${message}`),
      });
    }
  });

  it('is not disturbed by embeddings that change or leave meanwhile', async () => {
    const expected = await scoreTrials(set.embeddings, set.source);
    for (const disturb of [
      (data: Float32Array) => data.fill(Number.NaN),
      (data: Float32Array) =>
        structuredClone(data, { transfer: [data.buffer as ArrayBuffer] }),
    ]) {
      const data = set.embeddings.data.slice();
      const labels = set.labels.slice();
      const scoring = scoreTrials({ data, dims: [6, 3] }, { labels });
      disturb(data);
      labels.fill(0);
      expect(await scoring).toEqual(expected);
    }
  });

  it('rejects with the reason of a signal aborted before or during', async () => {
    const reason = new Error('enough');
    await expect(
      scoreTrials(set.embeddings, set.source, {
        signal: AbortSignal.abort(reason),
      }),
    ).rejects.toBe(reason);

    const large = embed(30_000, 16, 100);
    const time = async (work: Promise<unknown>) => {
      const start = performance.now();
      await work;
      return performance.now() - start;
    };
    const whole = await time(scoreTrials(large.embeddings, large.source));
    const controller = new AbortController();
    const { signal } = controller;
    setTimeout(() => controller.abort(reason), whole / 10);
    const stopped = await time(
      expect(
        scoreTrials(large.embeddings, large.source, { signal }),
      ).rejects.toBe(reason),
    );
    expect(stopped).toBeLessThan(whole / 2);
  }, 120_000);

  it('agrees with trialScoresFrom on the same scores', async () => {
    const scores = await scoreTrials(set.embeddings, set.source);
    const again = trialScoresFrom(
      Float64Array.from(expand(scores, 'genuineCounts')),
      Float64Array.from(expand(scores, 'impostorCounts')),
    );
    expect(again).toEqual(scores);
  });
});
