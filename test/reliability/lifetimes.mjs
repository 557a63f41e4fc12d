// Part 4. Threads and lifetimes: eight workers with heads at once; workers that are terminated, and
// processes that exit, with work pending; heads disposed and calls aborted at random moments; a head
// sent to another thread.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  isMainThread,
  parentPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import * as api from 'alphamargin';
import {
  amount,
  check,
  chooser,
  collectGarbage,
  figure,
  options,
  sameBits,
  uniform,
} from './support.mjs';

const here = fileURLToPath(import.meta.url);
const [identities, dim, rows] = [3000, 32, 24];

const newHead = (alpha = 1.25, seed = 1) =>
  new api.PrototypeHead({
    identities,
    dim,
    device: 'cpu',
    seed,
    loss:
      alpha === 1
        ? api.cosFace({ scale: 16 })
        : api.qMargin({ alpha, scale: 16 }),
    optimizer: api.sgd({ learningRate: 0.2, momentum: 0.9 }),
  });

function batchOf(seed) {
  const g = chooser(uniform(3, seed));
  return [
    { data: g.floats(rows * dim), dims: [rows, dim] },
    g.integers(rows, identities),
  ];
}

/** Trains a head from a seed; returns its prototypes. */
async function train(seed, steps) {
  const head = newHead(1.25, seed);
  for (let step = 0; step < steps; step += 1)
    await head.step(...batchOf(seed + step));
  const { data } = await head.prototypes();
  head.dispose();
  return data;
}

/** Starts everything that takes a while and waits for nothing. */
function startWork() {
  const head = newHead(1);
  const other = newHead(1.25);
  const big = { data: new Float32Array(2000 * 300), dims: [2000, 300] };
  const forget = (promise) => promise.catch(() => {});
  for (let i = 0; i < 3; i += 1) {
    forget(head.step(...batchOf(i)));
    forget(other.step(...batchOf(i)));
    forget(other.nearest(batchOf(i)[0], { k: 5 }));
    forget(api.entmax(big, { alpha: 1.1, device: 'cpu' }));
    forget(api.scoreTrials(batchOf(i)[0], { labels: batchOf(i)[1] }));
  }
  forget(other.save('/dev/shm/alphamargin-never-finished.safetensors'));
}

async function inWorker({ task, seed, steps }) {
  if (task === 'train') {
    parentPort.postMessage(await train(seed, steps));
    parentPort.close();
  } else {
    startWork();
    parentPort.postMessage('running');
  }
}

const startWorker = (data) => new Worker(here, { workerData: data });
const message = (worker) =>
  new Promise((resolve, reject) =>
    worker.once('message', resolve).once('error', reject),
  );

async function eightWorkers() {
  const rounds = amount(4, 1);
  let differences = 0;
  for (let round = 0; round < rounds; round += 1) {
    const seeds = Array.from({ length: 8 }, (_, i) => 10 * round + i);
    const found = await Promise.all(
      seeds.map((seed) =>
        message(startWorker({ task: 'train', seed, steps: 6 })),
      ),
    );
    for (const [i, seed] of seeds.entries()) {
      if (!sameBits(found[i], await train(seed, 6))) differences += 1;
    }
  }
  figure('heads trained in 8 workers at once', 8 * rounds);
  check(
    differences === 0,
    'heads in workers have the bits of heads alone',
    `${differences} differ`,
  );
}

async function terminatedWorkers() {
  const g = chooser(uniform(Number(options.seed), 41));
  const count = amount(200, 20);
  for (let done = 0; done < count; done += 4) {
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const worker = startWorker({ task: 'leave' });
        await message(worker);
        await new Promise((resolve) => setTimeout(resolve, g.next() * 40));
        await worker.terminate();
      }),
    );
  }
  const { data } = api.entmaxSync({
    data: Float32Array.of(1, 1),
    dims: [1, 2],
  });
  figure('workers terminated with work pending', count);
  check(data.join() === '0.5,0.5', 'the process and its other threads go on');
}

function exitedProcesses() {
  const ways = ['exit', 'throw', 'end'];
  const count = amount(60, 6);
  const wrong = [];
  for (let index = 0; index < count; index += 1) {
    const way = ways[index % ways.length];
    const { status, signal } = spawnSync(
      process.execPath,
      [here, 'leave', way, String(index)],
      {
        stdio: 'ignore',
        timeout: 120_000,
      },
    );
    if (signal !== null || status !== (way === 'throw' ? 1 : 0))
      wrong.push(`${way}: ${signal ?? status}`);
  }
  figure('processes ended with work pending', count);
  check(
    wrong.length === 0,
    'a process ends as it was told to',
    wrong.join('; '),
  );
}

async function disposedAndAborted() {
  const g = chooser(uniform(Number(options.seed), 43));
  const rounds = amount(600, 80);
  await collectGarbage();
  const before = api.memory();
  const outcomes = { done: 0, aborted: 0, disposed: 0, busy: 0 };
  const wrong = [];
  let pendingHeads = [];
  for (let round = 0; round < rounds; round += 1) {
    const head = newHead(g.pick([1, 1.25, 2]));
    const calls = Array.from({ length: 5 }, (_, i) => {
      const controller = new AbortController();
      const { signal } = controller;
      const abort = () => controller.abort();
      if (g.chance(0.5)) setTimeout(abort, g.next() * 8);
      else if (g.chance(0.3)) setImmediate(abort);
      const [x, labels] = batchOf(round + i);
      const call = g.pick([
        () => head.step(x, labels, { signal }),
        () => head.evaluate(x, labels, { signal }),
        () => head.posterior(x, labels, { signal }),
        () => head.nearest(x, { k: 3, signal }),
        () => head.reinitialize([{ embeddings: x, labels }], { signal }),
        () => api.sparseEntmax(x, { signal, device: 'cpu' }),
        async () => head.stepSync(x, labels),
      ]);
      return call();
    });
    const dispose = () => head.dispose();
    if (g.chance(0.3)) dispose();
    else if (g.chance(0.5)) setTimeout(dispose, g.next() * 8);
    pendingHeads.push(head);
    for (const { status, reason } of await Promise.allSettled(calls)) {
      if (status === 'fulfilled') outcomes.done += 1;
      else if (reason?.name === 'AbortError') outcomes.aborted += 1;
      else if (reason?.code === 'ERR_DISPOSED') outcomes.disposed += 1;
      else if (reason?.code === 'ERR_BUSY') outcomes.busy += 1;
      else wrong.push(String(reason?.stack ?? reason));
    }
    if (pendingHeads.length > 20) {
      for (const one of pendingHeads) one.dispose();
      pendingHeads = [];
    }
  }
  for (const one of pendingHeads) one.dispose();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await collectGarbage();
  const after = api.memory();
  for (const [name, count] of Object.entries(outcomes))
    figure(`calls ${name}`, count);
  figure('bytes leaked', after.host - before.host);
  check(
    wrong.length === 0,
    'calls end, are aborted or are refused, and nothing else',
    wrong[0],
  );
  check(after.host === before.host, 'no call or head keeps memory');
}

/** An aborted step leaves the bits as they were, whenever the abort comes. */
async function abortedSteps() {
  const g = chooser(uniform(Number(options.seed), 47));
  const head = newHead(1);
  const started = performance.now();
  head.stepSync(...batchOf(0));
  const longest = 1.2 * (performance.now() - started);
  let expected = (await head.prototypes()).data;
  let [aborted, wrong] = [0, 0];
  for (let round = 0; round < amount(300, 40); round += 1) {
    const controller = new AbortController();
    const aborts = performance.now() + g.next() * longest;
    const wait = () =>
      performance.now() < aborts ? setImmediate(wait) : controller.abort();
    setImmediate(wait);
    const batch = batchOf(round);
    const outcome = await head
      .step(...batch, { signal: controller.signal })
      .then(
        () => 'done',
        () => 'aborted',
      );
    const { data } = await head.prototypes();
    if (outcome === 'aborted') {
      aborted += 1;
      if (!sameBits(data, expected)) wrong += 1;
    }
    expected = data;
  }
  head.dispose();
  figure('steps aborted at random moments', aborted);
  check(wrong === 0, 'an aborted step changes nothing', `${wrong} did`);
}

function headsElsewhere() {
  const head = newHead();
  const clone = structuredClone(head);
  const isHead =
    clone instanceof api.PrototypeHead || typeof clone.step === 'function';
  const attempts = [
    () => api.PrototypeHead.prototype.stepSync.call(clone, ...batchOf(0)),
    () => api.PrototypeHead.prototype.dispose.call(clone),
    () => api.PrototypeHead.prototype.memory.call(clone),
    () =>
      Object.getOwnPropertyDescriptor(
        api.PrototypeHead.prototype,
        'device',
      ).get.call(clone),
  ];
  const refused = attempts.filter((attempt) => {
    try {
      attempt();
      return false;
    } catch (error) {
      return error instanceof TypeError;
    }
  });
  let untyped = '';
  for (const value of [structuredClone({ ...head }), head]) {
    try {
      api.entmaxSync(value);
      untyped = 'accepted';
    } catch (error) {
      if (!(error instanceof api.AlphaMarginError)) untyped = String(error);
    }
  }
  head.dispose();
  check(
    !isHead && refused.length === attempts.length && untyped === '',
    'a clone of a head, as another thread would receive it, is no head',
    `${isHead} ${refused.length} ${untyped}`,
  );
}

const [task, way, index] = process.argv.slice(2);
if (!isMainThread) await inWorker(workerData);
else if (task === 'leave') {
  startWork();
  const delay = (Number(index) * 7) % 40;
  if (way === 'exit') setTimeout(() => process.exit(0), delay);
  else if (way === 'throw')
    setTimeout(() => {
      throw new Error('as planned');
    }, delay);
} else {
  await eightWorkers();
  await terminatedWorkers();
  exitedProcesses();
  await disposedAndAborted();
  await abortedSteps();
  headsElsewhere();
}
