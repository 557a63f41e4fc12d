import { expect, test } from 'vitest';
import {
  type BatchPlan,
  type EmbeddingBatch,
  type EmbeddingRows,
  embeddingBatches,
  identitySamples,
  openEmbeddings,
  sequential,
  shuffled,
} from '../../lib/data/index.js';
import { PrototypeHead, qMargin, sgd } from '../../lib/index.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { uniform } from '../helpers/random.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';

const file = useTemporaryDirectory();
const [count, dim, identities] = [300, 8, 20];
const labels = Int32Array.from({ length: count }, (_, row) => row % identities);
const next = uniform(1);
const data = Float32Array.from({ length: count * dim }, () => next() - 0.5);

/** Rows in memory, that count how often they are read. */
function rowsInMemory(): EmbeddingRows & { reads: number } {
  return {
    count,
    dim,
    reads: 0,
    async gather(rows, target) {
      this.reads += 1;
      for (const [slot, row] of rows.entries()) {
        target.set(data.subarray(row * dim, (row + 1) * dim), slot * dim);
      }
    },
  };
}

async function collect(batches: AsyncIterable<EmbeddingBatch>) {
  const all: EmbeddingBatch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

const plans: [string, BatchPlan][] = [
  [
    'shuffled',
    shuffled({ rows: count, batch: 16, blockRows: 4, bufferRows: 50 }),
  ],
  ['identitySamples', identitySamples({ labels, identities: 6, samples: 3 })],
  ['sequential', sequential({ rows: count, batch: 7 })],
];

test.each(plans)('%s: batches hold the rows of the plan', async (_, plan) => {
  const batches = await collect(
    embeddingBatches(rowsInMemory(), labels, plan, { epochs: 3 }),
  );
  expect(batches.length).toBe(3 * plan.stepsPerEpoch);
  batches.forEach((batch, step) => {
    const rows = [...plan.rowsOf(step)];
    expect(batch.step).toBe(step);
    expect([...batch.rows]).toEqual(rows);
    expect([...batch.labels]).toEqual(rows.map((row) => labels[row]));
    expect(batch.embeddings.dims).toEqual([rows.length, dim]);
    expect([...batch.embeddings.data]).toEqual(
      rows.flatMap((row) => [...data.subarray(row * dim, (row + 1) * dim)]),
    );
  });
});

test.each(plans)('%s: a run goes on at any step', async (_, plan) => {
  const all = await collect(
    embeddingBatches(rowsInMemory(), labels, plan, { epochs: 2 }),
  );
  for (const from of [1, plan.stepsPerEpoch - 1, plan.stepsPerEpoch + 2]) {
    const rest = await collect(
      embeddingBatches(rowsInMemory(), labels, plan, { from, epochs: 2 }),
    );
    expect(rest).toEqual(all.slice(from));
  }
  const done = { from: 2 * plan.stepsPerEpoch, epochs: 2 };
  const none = embeddingBatches(rowsInMemory(), labels, plan, done);
  expect(await collect(none)).toEqual([]);
});

test('rows are read for several steps at once', async () => {
  const dataset = rowsInMemory();
  const [, plan] = plans[0]!;
  await collect(embeddingBatches(dataset, labels, plan));
  expect(dataset.reads).toBe(Math.ceil(plan.stepsPerEpoch / plan.readAhead));
});

test('a caller that stops early may close the files at once', async () => {
  await writeNpy(file('x.npy'), { type: 'float32', data, dims: [count, dim] });
  const dataset = await openEmbeddings(file('x.npy'));
  const plan = sequential({ rows: count, batch: 3 });
  for await (const _ of embeddingBatches(dataset, labels, {
    ...plan,
    readAhead: 1,
  }))
    break;
  await dataset.close();
  const closed = embeddingBatches(dataset, labels, plan);
  await expect(closed.next()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
});

test('a failure of a later read comes when its turn does', async () => {
  const dataset = rowsInMemory();
  const { gather } = dataset;
  dataset.gather = async (rows, target) => {
    if (dataset.reads === 1) throw new Error('the disk is gone');
    await gather.call(dataset, rows, target);
  };
  const [, plan] = plans[0]!;
  const batches = embeddingBatches(dataset, labels, plan);
  for (let step = 0; step < plan.readAhead; step += 1) await batches.next();
  await expect(batches.next()).rejects.toThrow('the disk is gone');
});

test('arguments that do not fit are named', async () => {
  const [, plan] = plans[0]!;
  const dataset = rowsInMemory();
  const refused = async (batches: AsyncIterator<unknown>, message: RegExp) =>
    expect(batches.next()).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
  await refused(
    embeddingBatches(dataset, labels.subarray(1), plan),
    /embeddingBatches: expected labels .* each of 300 rows/,
  );
  await refused(
    embeddingBatches(dataset, [...labels] as never, plan),
    /labels/,
  );
  await refused(embeddingBatches(dataset, labels, {} as never), /plan\.steps/);
  await refused(
    embeddingBatches(dataset, labels, plan, { from: -1 }),
    /options\.from to be a whole number >= 0 but received -1/,
  );
  await refused(
    embeddingBatches(dataset, labels, plan, { epoch: 1 } as never),
    /made of/,
  );
});

test('a head trains from disk as it does from memory, and takes its means', async () => {
  await writeNpy(file('t.npy'), { type: 'float32', data, dims: [count, dim] });
  await using onDisk = await openEmbeddings(file('t.npy'));
  const [, plan] = plans[0]!;
  const losses = [];
  for (const dataset of [onDisk, rowsInMemory()]) {
    using head = new PrototypeHead({
      ...{ identities, dim, seed: 3 },
      loss: qMargin({ scale: 8 }),
      optimizer: sgd({ learningRate: 0.1 }),
    });
    const means = sequential({ rows: count, batch: 64 });
    const replaced = await head.reinitialize(
      embeddingBatches(dataset, labels, means),
    );
    expect(replaced).toBe(identities);
    const steps = embeddingBatches(dataset, labels, plan, { epochs: 2 });
    const own: number[] = [];
    for await (const batch of steps) {
      own.push((await head.step(batch.embeddings, batch.labels)).loss);
    }
    losses.push(own);
  }
  expect(losses[0]).toEqual(losses[1]);
});
