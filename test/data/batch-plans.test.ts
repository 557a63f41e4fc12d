import { describe, expect, test } from 'vitest';
import {
  type BatchPlan,
  classBalanced,
  identitySamples,
  sequential,
  shuffled,
} from '../../lib/data/index.js';

const epochOf = (plan: BatchPlan, epoch = 0) =>
  Array.from({ length: plan.stepsPerEpoch }, (_, step) => [
    ...plan.rowsOf(epoch * plan.stepsPerEpoch + step),
  ]);

const ascending = (rows: number[]) => [...rows].sort((a, b) => a - b);

/** A long tail: identity i of 40 has 1 + ⌊200 / (i + 1)⌋ rows; some rows are nobody's. */
const labels = Int32Array.from(
  Array.from({ length: 40 }, (_, i) => [
    -1,
    ...new Array<number>(1 + Math.floor(200 / (i + 1))).fill(1000 - 7 * i),
  ]).flat(),
);
const countOf = (identity: number) =>
  labels.filter((label) => label === identity).length;

describe('shuffled', () => {
  const sizes = [1, 19, 111, 989];
  test.each(
    sizes.flatMap((rows) =>
      [
        { rows, batch: 1, blockRows: 1, bufferRows: 1 },
        { rows, batch: 7, blockRows: 5, bufferRows: 30 },
        { rows, batch: 64, blockRows: 64, bufferRows: 64 },
        { rows, batch: 2000 },
      ].map((options) => ({ ...options, seed: 4 })),
    ),
  )('gives every row once in an epoch: %o', (options) => {
    const plan = shuffled(options);
    for (const epoch of [0, 3]) {
      const batches = epochOf(plan, epoch);
      expect(ascending(batches.flat())).toEqual(
        Array.from({ length: options.rows }, (_, row) => row),
      );
      for (const rows of batches.slice(0, -1)) {
        expect(rows.length).toBe(options.batch);
      }
    }
  });

  test('follows from the seed, differs by seed and epoch', () => {
    const plan = (seed: number) => shuffled({ rows: 500, batch: 50, seed });
    expect(epochOf(plan(1))).toEqual(epochOf(plan(1)));
    expect(epochOf(plan(1))).not.toEqual(epochOf(plan(2)));
    expect(epochOf(plan(1), 0)).not.toEqual(epochOf(plan(1), 1));
  });

  test('the order of a seed never changes between versions', () => {
    const plan = shuffled({ rows: 20, batch: 5, blockRows: 3, bufferRows: 10 });
    expect(epochOf(plan).map((rows) => rows.join(' '))).toMatchInlineSnapshot(`
      [
        "19 6 7 16 11",
        "10 17 9 15 18",
        "4 1 3 2 0",
        "13 14 12 8 5",
      ]
    `);
  });

  test('what is read together lies in whole blocks, from all over the file', () => {
    const options = {
      rows: 64_000,
      batch: 100,
      blockRows: 50,
      bufferRows: 2000,
    };
    const plan = shuffled(options);
    expect(plan.readAhead).toBe(20);
    const group = epochOf(plan).slice(20, 40).flat();
    const blocks = new Set(group.map((row) => Math.floor(row / 50)));
    expect(blocks.size).toBe(40);
    expect(Math.max(...blocks) - Math.min(...blocks)).toBeGreaterThan(640);
    // A batch is a mixture of them.
    const first = new Set(group.slice(0, 100).map((r) => Math.floor(r / 50)));
    expect(first.size).toBeGreaterThan(25);
  });

  test('takes the rows of a list', () => {
    const rows = Int32Array.from({ length: 30 }, (_, i) => 3 * i);
    const plan = shuffled({ rows, batch: 8, blockRows: 4 });
    expect(ascending(epochOf(plan).flat())).toEqual([...rows]);
  });
});

test('sequential gives the rows in order, again in every epoch', () => {
  const plan = sequential({ rows: 7, batch: 3 });
  expect(epochOf(plan, 0)).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  expect(epochOf(plan, 5)).toEqual(epochOf(plan, 0));
  const chosen = sequential({ rows: Int32Array.of(9, 2, 4), batch: 2 });
  expect(epochOf(chosen)).toEqual([[9, 2], [4]]);
});

describe('classBalanced', () => {
  /** Share of each identity among many draws. */
  function shares(power: number) {
    const plan = classBalanced({ labels, batch: 1000, power, seed: 2 });
    const drawn = Array.from({ length: 40 }, (_, step) => [
      ...plan.rowsOf(step),
    ])
      .flat()
      .map((row) => labels[row]!);
    return (identity: number) =>
      drawn.filter((label) => label === identity).length / drawn.length;
  }

  test('draws identities by n^power', () => {
    const [first, last] = [1000, 1000 - 7 * 39];
    for (const power of [0, 0.5, 1]) {
      const share = shares(power);
      let sum = 0;
      for (let i = 0; i < 40; i += 1) sum += countOf(1000 - 7 * i) ** power;
      for (const identity of [first, 993, last]) {
        const expected = countOf(identity) ** power / sum;
        const sigma = Math.sqrt(expected / 40_000);
        expect(Math.abs(share(identity) - expected)).toBeLessThan(5 * sigma);
      }
      expect(share(-1)).toBe(0);
    }
  });

  test('reaches every row of an identity, and has N / B steps', () => {
    const plan = classBalanced({ labels: new Int32Array(50), batch: 20 });
    expect(plan.stepsPerEpoch).toBe(3);
    const seen = new Set(
      [...Array(50).keys()].flatMap((s) => [...plan.rowsOf(s)]),
    );
    expect(seen.size).toBe(50);
  });
});

describe('identitySamples', () => {
  const options = { labels, identities: 12, samples: 4, seed: 5 };
  const plan = identitySamples(options);

  test('gives P identities with K rows each, side by side', () => {
    expect(plan.stepsPerEpoch).toBe(3);
    for (const rows of epochOf(plan)) {
      expect(rows.length).toBe(48);
      const owners = rows.map((row) => labels[row]!);
      const distinct = new Set(owners);
      expect(distinct.size).toBe(12);
      expect(distinct.has(-1)).toBe(false);
      for (let place = 0; place < 48; place += 4) {
        expect(new Set(owners.slice(place, place + 4)).size).toBe(1);
      }
    }
  });

  test('an identity comes once in an epoch; those left over change', () => {
    const seenIn = (epoch: number) => {
      const owners = epochOf(plan, epoch)
        .flat()
        .map((row) => labels[row]!);
      return new Set(owners);
    };
    expect(seenIn(0).size).toBe(36);
    const all = new Set(
      [0, 1, 2, 3, 4, 5].flatMap((epoch) => [...seenIn(epoch)]),
    );
    expect(all.size).toBe(40);
  });

  test('rows are different ones; too few are repeated in turns', () => {
    const few = identitySamples({
      labels: Int32Array.of(3, 3, 8, 8, 8, 8, 8),
      identities: 2,
      samples: 5,
    });
    const counts = new Map<number, number>();
    for (const row of few.rowsOf(0))
      counts.set(row, (counts.get(row) ?? 0) + 1);
    expect([...counts.values()].sort()).toEqual([1, 1, 1, 1, 1, 2, 3]);
  });
});

test.each([
  [() => shuffled({ rows: 0, batch: 1 }), /shuffled: expected options\.rows/],
  [() => shuffled({ rows: new Int32Array(0), batch: 1 }), /options\.rows/],
  [() => shuffled({ rows: 2 ** 31, batch: 1 }), /options\.rows/],
  [() => shuffled({ rows: 1, batch: 0 }), /shuffled: .* options\.batch/],
  [() => shuffled({ rows: 1, batch: 1, seed: -1 }), /options\.seed .* >= 0/],
  [() => shuffled({ rows: 1, batch: 1, blockRows: 1.5 }), /blockRows/],
  [() => shuffled({ rows: 1, batch: 1, block: 1 } as never), /made of rows/],
  [() => sequential(undefined as never), /sequential: expected options\.rows/],
  [() => classBalanced({ labels: [0] as never, batch: 1 }), /options\.labels/],
  [() => classBalanced({ labels: Int32Array.of(-1), batch: 1 }), /label >= 0/],
  [
    () => classBalanced({ labels, batch: 1, power: 2 }),
    /power to be in \[0, 1\]/,
  ],
  [
    () => identitySamples({ labels, identities: 41, samples: 1 }),
    /at most the 40 identities that occur in labels but received 41/,
  ],
  [() => identitySamples({ labels, identities: 1, samples: 0 }), /samples/],
])('a plan that cannot be is refused (%#)', (make, message) => {
  let failure: unknown;
  try {
    make();
  } catch (error) {
    failure = error;
  }
  expect(failure).toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});
