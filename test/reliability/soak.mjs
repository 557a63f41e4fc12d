// Part 8. Load: a head trains, another one is evaluated, searched and saved, trials are scored, all at
// once, for minutes. The event loop stays free, the work does not slow down, memory stays.

import { fork } from 'node:child_process';
import { on, once } from 'node:events';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import * as api from 'alphamargin';
import { batches, dim, identities, queries, timeSteps } from './soak-steps.mjs';
import {
  amount,
  check,
  collectGarbage,
  figure,
  options,
  quantile,
  temporaryDirectory,
} from './support.mjs';

const seconds = amount(240, 12);
const newHead = () =>
  new api.PrototypeHead({
    identities,
    dim,
    device: 'cpu',
    loss: api.qMargin({ alpha: 1.5, scale: 16 }),
    // So slow that the work of a step stays the same.
    optimizer: api.sgd({ learningRate: 0.001, momentum: 0.9 }),
  });
const directory = temporaryDirectory('/dev/shm');

/** Time of all processors since the machine started: idle, and in all. */
function processorTimes() {
  const times = os.cpus().map((cpu) => cpu.times);
  const all = times.flatMap((time) => Object.values(time));
  const total = all.reduce((sum, time) => sum + time, 0);
  return { total, idle: times.reduce((sum, { idle }) => sum + idle, 0) };
}

// Not the load average: that of the minute before holds the other parts of the suite.
const start = processorTimes();
await new Promise((resolve) => setTimeout(resolve, 2000));
const now = processorTimes();
const othersShare = 1 - (now.idle - start.idle) / (now.total - start.total);
const isQuiet = othersShare < 0.2;
await collectGarbage();
const before = api.memory();
const [trained, gallery] = [newHead(), newHead()];
await Promise.all([trained.step(...batches[0]), gallery.step(...batches[0])]);

const counts = { steps: 0, evaluations: 0, searches: 0, saves: 0, scorings: 0 };
const errors = [];
const delay = monitorEventLoopDelay({ resolution: 1 });
const end = performance.now() + 1000 * seconds;

/** Repeats a call until the time is over, with a pause between. */
async function repeat(name, pause, call) {
  for (let round = 0; performance.now() < end; round += 1) {
    try {
      await call(round);
      counts[name] += 1;
    } catch (error) {
      errors.push(`${name}: ${error.stack}`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

delay.enable();
await Promise.all([
  repeat('steps', 0, (round) =>
    trained.step(...batches[round % batches.length]),
  ),
  repeat('evaluations', 20, (round) =>
    gallery.evaluate(...batches[round % batches.length]),
  ),
  repeat('searches', 5, () => gallery.nearest(queries, { k: 5 })),
  repeat('searches', 5, () => gallery.nearest(queries, { k: 1 })),
  repeat('saves', 1500, () =>
    trained.save(path.join(directory, 'head.safetensors')),
  ),
  repeat('scorings', 100, (round) => {
    const [embeddings, labels] = batches[round % batches.length];
    return api.scoreTrials(embeddings, { labels });
  }),
]);
delay.disable();
gallery.dispose();

/**
 * Time of a step after the load relative to that of the same step, of the same head, in a process that
 * has just begun. The two take turns, so that a processor that others slow down slows down both: times
 * of the begin and of the end of the load differed by 1.6 for that reason alone.
 */
async function timeAgainstNewProcess() {
  const file = path.join(directory, 'trained.safetensors');
  await trained.save(file);
  const child = fork(
    new URL('soak-steps.mjs', import.meta.url),
    ['--seed', options.seed, file],
    { execArgv: [] },
  );
  const exit = once(child, 'exit');
  const answers = on(child, 'message');
  const steps = 16;
  const inChild = async () => {
    child.send(steps);
    const answer = await Promise.race([answers.next(), exit]);
    if (Array.isArray(answer)) throw new Error(`it ended with ${answer[0]}`);
    return answer.value[0];
  };
  // Neither is timed while its buffers grow.
  await timeSteps(trained, steps);
  await inChild();
  const ratios = [];
  for (let round = 0; round < amount(64, 24); round += 1) {
    // Both orders, so that going first is no advantage.
    const before = round % 2 === 0 ? await inChild() : undefined;
    const own = await timeSteps(trained, steps);
    ratios.push(own / (before ?? (await inChild())));
  }
  child.disconnect();
  await exit;
  return quantile(ratios, 0.5);
}

const decay = await timeAgainstNewProcess();
trained.dispose();
await collectGarbage();

const milliseconds = (percentile) => delay.percentile(percentile) / 1e6;
figure('seconds of load', seconds);
for (const [name, count] of Object.entries(counts)) figure(name, count);
figure(
  'delay of the event loop, ms: p50, p99, largest',
  [50, 99, 100].map((p) => milliseconds(p).toFixed(2)).join(', '),
);
figure('time of a step, after the load to in a new process', decay.toFixed(3));
figure("others' share of the processors before", othersShare.toFixed(2));
check(
  errors.length === 0 && Object.values(counts).every((count) => count > 0),
  'every call succeeds',
  errors[0],
);
check(api.memory().host === before.host, 'memory is back to where it was');
check(decay < 1.25, 'the work does not slow down');
if (isQuiet) {
  check(milliseconds(99) < 20, 'the event loop waits less than 20 ms at p99');
} else {
  console.log('      the delay is not judged: the machine was busy');
}
