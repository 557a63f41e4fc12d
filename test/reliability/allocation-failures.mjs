// Part 6, first half. Every allocation of the addon fails in turn, once alone and once with all that
// follow it, on the CPU and on the emulated device: the call fails with ERR_OUT_OF_MEMORY or does
// without the memory; a head keeps its bits and its next call gives the bits of a head that was never
// disturbed; memory() returns to where it was.
//
//   node --expose-gc test/reliability/allocation-failures.mjs [--quick]
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  openSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  amount,
  check,
  chooser,
  collectGarbage,
  figure,
  options,
  skip,
  temporaryDirectory,
  uniform,
} from './support.mjs';

const here = fileURLToPath(import.meta.url);

/** Compiles the library that fails allocations, and runs this file again under it. */
function runUnderShim() {
  const directory = temporaryDirectory();
  const library = path.join(directory, 'failing_malloc.so');
  const source = path.join(path.dirname(here), 'native', 'failing_malloc.c');
  const compiled = spawnSync(
    process.env.CC ?? 'cc',
    ['-O1', '-shared', '-fPIC', '-fno-builtin', '-o', library, source],
    { encoding: 'utf8' },
  );
  if (compiled.status !== 0) {
    skip(
      'allocation failures',
      `no C compiler with glibc: ${compiled.stderr ?? compiled.error}`,
    );
    return;
  }
  const control = path.join(directory, 'control');
  writeFileSync(control, Buffer.alloc(4096));
  const { status, signal } = spawnSync(
    process.execPath,
    ['--expose-gc', here, ...process.argv.slice(2)],
    {
      stdio: 'inherit',
      env: {
        ...process.env,
        LD_PRELOAD: library,
        ALPHAMARGIN_FAULTS: control,
        ALPHAMARGIN_THREADS: '2',
      },
    },
  );
  if (signal !== null || (status !== 0 && status !== 1)) {
    const last = Buffer.alloc(200);
    const file = openSync(control, 'r');
    readSync(file, last, 0, 200, 1024);
    closeSync(file);
    check(
      false,
      'an allocation that fails does not end the process',
      `${signal ?? `exit status ${status}`} in ${last.toString().replaceAll('\0', '')}`,
    );
  }
  process.exitCode = status ?? 1;
}

if (process.env.ALPHAMARGIN_FAULTS === undefined) runUnderShim();
else await failEveryAllocation(process.env.ALPHAMARGIN_FAULTS);

async function failEveryAllocation(controlFile) {
  const api = await import('alphamargin');
  const control = openSync(controlFile, 'r+');
  const words = new BigInt64Array(4);
  let onlyAligned = 0n;
  const arm = (place) => {
    words.set([BigInt(place), 0n, 0n, onlyAligned]);
    writeSync(control, words, 0, 32, 0);
  };
  /** Ends the faults; returns allocations counted and failed. */
  const disarm = () => {
    readSync(control, words, 0, 32, 0);
    const [, count, failed] = words;
    arm(0);
    return { count: Number(count), failed: Number(failed) };
  };
  let current = '';
  const note = (text) => {
    current = text;
    writeSync(control, text.padEnd(200), 1024);
  };
  // An error that no promise carries would leave its call waiting for ever.
  process.on('uncaughtException', (error) => {
    check(
      false,
      'every error reaches its caller',
      `${current}: ${error.stack}`,
    );
    process.exit(1);
  });

  const g = chooser(uniform(Number(options.seed)));
  const [C, D, B] = [40, 8, 5];
  const tensor = (rows, columns, scale = 1) => ({
    data: g.floats(rows * columns, scale),
    dims: [rows, columns],
  });
  /** A head's size, and a batch for it. */
  const sized = (identities, rows) => ({
    identities,
    x: tensor(rows, D),
    labels: g.integers(rows, identities),
  });
  const small = sized(C, B);
  const { x, labels } = small;
  // Enough rows for threads to share them, and classes for several ranges of an update.
  const large = sized(2100, 64);
  const cosines = tensor(B, C, 0.9);
  const reference = new Float32Array(C).fill(0.5);
  const trials = api.parseTrials('1 0 1\n0 1 2\n0 2 3\n');
  const directory = temporaryDirectory();
  const file = (name) => path.join(directory, name);

  const makeHead = (device, alpha, extra = {}, { identities } = small) =>
    new api.PrototypeHead({
      identities,
      dim: D,
      device,
      loss: api.qMargin({ alpha, scale: 8, margin: 0.1 }),
      optimizer: api.sgd({ learningRate: 0.3, momentum: 0.9 }),
      ...extra,
    });

  /** What calls on a head are tried. */
  const headCalls = {
    step: (head, { x, labels }) => head.step(x, labels),
    stepSync: (head, { x, labels }) => head.stepSync(x, labels),
    evaluate: (head, { x, labels }) => head.evaluate(x, labels),
    posterior: (head, { x }) => head.posterior(x),
    posteriorSync: (head, { x, labels }) => head.posteriorSync(x, labels),
    nearest: (head, { x }) => head.nearest(x, { k: 3 }),
    nearestSync: (head, { x }) => head.nearestSync(x, { k: 3 }),
    reinitialize: (head, { x, labels }) =>
      head.reinitialize([{ embeddings: x, labels }]),
    setPrototypes: (head) =>
      head.setPrototypes(tensor(2, D), Int32Array.of(1, 2)),
    prototypes: (head) => head.prototypes(),
    save: (head) => head.save(file('h.safetensors')),
  };
  /** What makes each head, and its size. */
  const heads = {
    'α 1.25': { make: (device) => makeHead(device, 1.25) },
    'α 1.5, adagrad': {
      make: (device) =>
        makeHead(device, 1.5, {
          optimizer: api.adagrad({ learningRate: 0.1 }),
        }),
    },
    'α 1': { make: (device) => makeHead(device, 1) },
    'α 2, reference': { make: (device) => makeHead(device, 2, { reference }) },
    'α 1.25, streamed again': {
      make: (device) => makeHead(device, 1.25, { scratchBudget: 0 }),
    },
    'α 1.5, rows shared': {
      make: (device) => makeHead(device, 1.5, {}, large),
      batch: large,
    },
    // Chunk by chunk prototypes are updated; the cosines of the first chunk only are kept.
    'α 1, three chunks': {
      make: (device) =>
        makeHead(device, 1, { scratchBudget: 4 * 64 * 1024 }, large),
      batch: large,
    },
  };
  const saved = makeHead('cpu', 1.25);
  await saved.step(x, labels);
  await saved.save(file('saved.safetensors'));
  saved.dispose();

  /** Calls without a head: what they return is freed. */
  const freeCalls = {
    entmax: (device) => api.entmax(cosines, { device }),
    entmaxSync: (device) =>
      api.entmaxSync(cosines, { alpha: 1.3, device, reference }),
    sparseEntmax: (device) => api.sparseEntmax(cosines, { device }),
    sparseEntmaxSync: (device) => api.sparseEntmaxSync(cosines, { device }),
    entmaxBackward: (device) =>
      api.entmaxBackward(cosines, cosines, { device }),
    qMarginLoss: async (device) => {
      const result = await api.qMarginLoss(cosines, labels, {
        device,
        scale: 8,
      });
      await result.backward();
    },
    arcFaceLossSync: (device) =>
      api.arcFaceLossSync(cosines, labels, { device, scale: 8 }).backwardSync(),
    'new PrototypeHead': (device) => makeHead(device, 1.5).dispose(),
    'PrototypeHead.load': async (device) =>
      (
        await api.PrototypeHead.load(file('saved.safetensors'), { device })
      ).dispose(),
    'scoreTrials, labels': () => api.scoreTrials(x, { labels }),
    'scoreTrials, bins': () =>
      api.scoreTrials(x, { labels }, { exactPairs: 0 }),
    'scoreTrials, list': () => api.scoreTrials(x, { trials }),
    trialCosines: () => api.trialCosines(x, { trials }),
    normalizeScores: () =>
      api.normalizeScores({
        scores: new Float32Array(3),
        trials,
        embeddings: x,
        cohort: x,
      }),
    setThreadCount: () => api.setThreadCount(3),
    backendInfo: () => api.backendInfo(),
    'DeviceTensor.upload': async (device) => {
      if (device === 'cpu') return;
      const uploaded = await api.DeviceTensor.upload(cosines, { device });
      try {
        (await api.entmax(uploaded)).dispose();
      } finally {
        uploaded.dispose();
      }
    },
    'DeviceTensor.uploadSync': (device) => {
      if (device === 'cpu') return;
      const uploaded = api.DeviceTensor.uploadSync(cosines, { device });
      try {
        uploaded.getDataSync();
      } finally {
        uploaded.dispose();
      }
    },
  };

  let faults = 0;
  let typed = 0;
  let done = 0;
  const problems = [];
  const problem = (text) => problems.length < 30 && problems.push(text);

  /** Runs a call with a fault; returns its error, and whether there are later places to try. */
  async function disturbed(name, place, call) {
    note(`${name}, allocation ${place}`);
    let error;
    arm(place);
    try {
      await call();
    } catch (thrown) {
      error = thrown;
    }
    const { count, failed } = disarm();
    faults += failed;
    if (error === undefined) done += failed > 0 ? 1 : 0;
    else if (
      error.code === 'ERR_OUT_OF_MEMORY' &&
      error instanceof api.AlphaMarginError
    )
      typed += 1;
    else problem(`${name}, allocation ${place}: ${error?.stack ?? error}`);
    return { error, failed: failed > 0, count };
  }

  const snapshotOf = async (head, batch) => {
    const after = await head.step(batch.x, batch.labels);
    const { data } = await head.prototypes();
    return Buffer.concat(
      [after.losses, after.gradEmbeddings.data, data].map((array) =>
        Buffer.from(array.buffer.slice(0)),
      ),
    );
  };

  const emulation = api.backendInfo().emulation;
  const devices = emulation ? ['cpu', 'cuda-emulated'] : ['cpu'];
  for (const device of devices) {
    onlyAligned = device === 'cpu' ? 0n : 1n;
    const heldBefore = api.memory();
    for (const [name, call] of Object.entries(freeCalls)) {
      await call(device); // what is made once is made now
      for (const sign of [1, -1]) {
        const step = await strideOf(amount(100_000, 6), () => call(device));
        for (let place = 1; ; place += step) {
          const where = `${device} ${name}${sign < 0 ? ' and all later' : ''}`;
          const { failed } = await disturbed(where, sign * place, () =>
            call(device),
          );
          if (!failed) break;
        }
      }
    }
    api.setThreadCount(2);
    await collectGarbage();
    const heldAfter = api.memory();
    if (
      heldAfter.host !== heldBefore.host ||
      heldAfter.device !== heldBefore.device
    ) {
      problem(`${device}: memory ${JSON.stringify([heldBefore, heldAfter])}`);
    }
    for (const [kind, { make, batch = small }] of Object.entries(heads)) {
      // Emulated, the large one would take most of an hour; here its calls are short.
      if (batch === large && device !== 'cpu') continue;
      const places = amount(100_000, batch === large ? 60 : 6);
      for (const [name, callWith] of Object.entries(headCalls)) {
        const call = (head) => callWith(head, batch);
        // The bits of a head that was never disturbed, with and without the call.
        const undisturbed = async (withCall) => {
          const head = make(device);
          await head.step(batch.x, batch.labels);
          if (withCall) await call(head);
          const bits = await snapshotOf(head, batch);
          head.dispose();
          return bits;
        };
        const [without, within] = [
          await undisturbed(false),
          await undisturbed(true),
        ];
        const probe = make(device);
        await probe.step(batch.x, batch.labels);
        const step = await strideOf(places, () => call(probe));
        probe.dispose();
        for (const sign of [1, -1]) {
          for (let place = 1; ; place += step) {
            const where = `${device} ${kind} ${name}${sign < 0 ? ' and all later' : ''}`;
            const head = make(device);
            await head.step(batch.x, batch.labels);
            const { error, failed } = await disturbed(where, sign * place, () =>
              call(head),
            );
            const bits = await snapshotOf(head, batch);
            const isRandom = name === 'setPrototypes' && error === undefined;
            if (
              !isRandom &&
              !bits.equals(error === undefined ? within : without)
            ) {
              problem(`${where}, allocation ${place}: the head has other bits`);
            }
            head.dispose();
            if (!failed) break;
          }
        }
      }
    }
    const heldAtEnd = api.memory();
    if (
      heldAtEnd.host !== heldBefore.host ||
      heldAtEnd.device !== heldBefore.device
    ) {
      problem(`${device}: memory ${JSON.stringify([heldBefore, heldAtEnd])}`);
    }
  }

  /** The distance of the places tried: `most` of them, in a quick run not all. */
  async function strideOf(most, call) {
    arm(2 ** 40);
    await call();
    const { count } = disarm();
    return Math.max(1, Math.ceil(count / most));
  }

  for (const text of problems) console.log(`      ${text}`);
  figure('allocations made to fail', faults);
  figure('calls refused with ERR_OUT_OF_MEMORY', typed);
  figure('calls that did without the memory', done);
  check(
    problems.length === 0,
    'every failed allocation is a typed error, and heads keep their bits',
  );
}
