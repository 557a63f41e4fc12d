// Part 6, second half. Memory over many steps: what the process holds does not grow, memory() is back
// after dispose, and forgotten heads are collected before they pile up.
import * as api from 'alphamargin';
import {
  amount,
  check,
  chooser,
  collectGarbage,
  figure,
  options,
  uniform,
} from './support.mjs';

const [identities, dim, rows] = [4000, 32, 16];
const g = chooser(uniform(Number(options.seed), 61));
const batches = Array.from({ length: 16 }, () => [
  { data: g.floats(rows * dim), dims: [rows, dim] },
  g.integers(rows, identities),
]);
const newHead = () =>
  new api.PrototypeHead({
    identities,
    dim,
    device: 'cpu',
    loss: api.qMargin({ alpha: 1.25, scale: 16 }),
    optimizer: api.sgd({ learningRate: 0.1, momentum: 0.9 }),
  });

await collectGarbage();
const before = api.memory();
const head = newHead();
await head.step(...batches[0]);

const steps = amount(20_000, 1500);
const resident = [];
for (let step = 0; step < steps; step += 1) {
  const [x, labels] = batches[step % batches.length];
  const kind = step % 8;
  if (kind === 5) await head.nearest(x, { k: 3 });
  else if (kind === 6) await head.posterior(x, labels);
  else if (kind === 7) head.evaluateSync(x, labels);
  else await head.step(x, labels);
  if ((step + 1) % Math.floor(steps / 8) === 0) {
    await collectGarbage();
    resident.push(process.memoryUsage.rss());
  }
}
// The first quarter fills caches of allocators and of the compiler.
const growth = resident.at(-1) - Math.max(...resident.slice(1, 3));
figure('steps', steps);
figure(
  'resident memory, MiB, eighth by eighth',
  resident.map((rss) => (rss / 2 ** 20).toFixed(1)).join(' '),
);
figure('bytes of growth after the first quarter', Math.max(0, growth));
check(growth < 12 * 2 ** 20, 'resident memory stays where it is');

head.dispose();
await collectGarbage();

/** Makes heads of 5 MB and forgets them; V8 must be told of their memory to collect them in time. */
async function forgetHeads(count) {
  let largest = 0;
  for (let round = 0; round < count; round += 1) {
    const one = new api.PrototypeHead({
      identities: 10 * identities,
      dim,
      device: 'cpu',
      loss: api.qMargin(),
      optimizer: api.sgd(),
    });
    if (round % 4 === 0) one.dispose();
    largest = Math.max(largest, api.memory().host);
    // What was collected is freed between two turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return largest;
}
const made = amount(2000, 400);
const largest = await forgetHeads(made);
for (let round = 0; round < 5; round += 1) await collectGarbage();
const after = api.memory();
figure('heads of 5 MB made, three of four forgotten', made);
figure('most MiB held meanwhile', Math.round(largest / 2 ** 20));
figure('bytes leaked', after.host - before.host);
check(
  largest < 0.5 * made * 5.4e6,
  'V8 knows what heads hold, and collects forgotten ones in time',
);
check(
  after.host === before.host,
  'memory() is back to where it was',
  `${after.host - before.host}`,
);
