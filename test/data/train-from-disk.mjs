/*
 * Trains from a file of 4 GiB and prints what it took, as JSON. A process of its own, so that its
 * memory is that of the training alone.
 *
 *     node train-from-disk.mjs FILE STEPS|all
 */
import { PrototypeHead, qMargin, sgd } from 'alphamargin';
import {
  classBalanced,
  embeddingBatches,
  identitySamples,
  openEmbeddings,
  sequential,
  shuffled,
} from 'alphamargin/data';

const [file, limit] = process.argv.slice(2);
const identities = 1000;
const dataset = await openEmbeddings(file);
const { count, dim } = dataset;

// A long tail: half of the rows belong to a tenth of the identities.
const labels = Int32Array.from({ length: count }, (_, row) =>
  row % 2 === 0 ? row % 100 : row % identities,
);

/** The file is a hole, but for marked rows: what is added gives every row a direction. */
let marked = 0;
const rows = {
  count,
  dim,
  async gather(chosen, target) {
    await dataset.gather(chosen, target);
    for (let slot = 0; slot < chosen.length; slot += 1) {
      if (target[slot * dim] === chosen[slot] + 1) marked += 1;
      target[slot * dim] = 0.01;
      target[slot * dim + 1 + (labels[chosen[slot]] % (dim - 1))] = 1;
    }
  },
};

const head = new PrototypeHead({
  ...{ identities, dim, loss: qMargin(), seed: 1 },
  optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
});

const taken = {};
let losses = 0;
async function train(name, plan) {
  const steps = limit === 'all' ? plan.stepsPerEpoch : Number(limit);
  let [least, most, done] = [count, 0, 0];
  for await (const batch of embeddingBatches(rows, labels, plan)) {
    const { loss } = await head.step(batch.embeddings, batch.labels);
    losses += loss;
    least = Math.min(least, ...batch.rows);
    most = Math.max(most, ...batch.rows);
    done += 1;
    if (done === steps) break;
  }
  taken[name] = { steps: done, reach: (most - least) / count };
}

// The first rows and the last ones, in order.
const ends = Int32Array.from({ length: 2 ** 15 }, (_, index) =>
  index < 2 ** 14 ? index : count - 2 ** 15 + index,
);
await head.reinitialize(
  embeddingBatches(rows, labels, sequential({ rows: ends, batch: 1024 })),
);
const markedInOrder = marked;
await train('shuffled', shuffled({ rows: count, batch: 256, seed: 1 }));
await train(
  'identitySamples',
  identitySamples({ labels, identities: 64, samples: 4 }),
);
await train('classBalanced', classBalanced({ labels, batch: 256 }));

const { prototypes, optimizer, scratch } = head.memory();
console.log(
  JSON.stringify({
    ...{ count, taken, markedInOrder, lossSum: losses },
    peakBytes: process.resourceUsage().maxRSS * 1024,
    headBytes: prototypes + optimizer + scratch,
  }),
);
await dataset.close();
head.dispose();
