// Part 1. Every public function and method is called with hostile arguments: wrong types, sizes that
// overflow, detached, shared and resizable memory, buffers that are transferred while a call runs,
// getters and proxies that throw, lie or call back. Nothing may crash or hang; what is thrown is an
// AlphaMarginError, or what the caller's own code has thrown; memory returns to where it was.
//
//   node --expose-gc test/reliability/boundary.mjs [--seed S] [--calls N] [--only CALL]
//
// Every call has a seed of its own: --seed S --only CALL repeats one.
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import * as api from 'alphamargin';
import * as data from 'alphamargin/data';
import * as verification from 'alphamargin/verification';
import { CATALOGUE } from './boundary/catalogue.mjs';
import { exportedNames, memberKey } from './boundary/exported-names.mjs';
import { detach, isTypedArray } from './boundary/hostile-values.mjs';
import { Hostility } from './boundary/hostility.mjs';
import {
  amount,
  check,
  chooser,
  collectGarbage,
  figure,
  options,
  temporaryDirectory,
  uniform,
} from './support.mjs';

const publicThings = { ...api };

const CODES = new Set([
  ...['ERR_INVALID_ARGUMENT', 'ERR_NON_FINITE', 'ERR_LABEL_RANGE'],
  ...['ERR_OUT_OF_MEMORY', 'ERR_DEVICE', 'ERR_DISPOSED', 'ERR_BUSY'],
  'ERR_CHECKPOINT',
]);
const MOST_FAILURES_SHOWN = 20;
const PATIENCE_MS = 60_000;

const seed = Number(options.seed);
const calls = Number(options.calls ?? amount(100_000, 12_000));
const directory = temporaryDirectory();
process.chdir(directory);
const hasEmulation = api.backendInfo().emulation;
// Calls are tiny: with one thread they are not slowed down by what else runs. Threads: lifetimes.mjs.
api.setThreadCount(1);

const files = await writeFiles();
const names = Object.keys(CATALOGUE).filter((name) => {
  const { weight = 20 } = CATALOGUE[name];
  return weight > 0 && (hasEmulation || !name.startsWith('DeviceTensor.'));
});
const weights = names.map((name) => CATALOGUE[name].weight ?? 20);

const failures = [];
const outcomes = { returned: 0, refused: 0, 'handed on': 0 };
const called = new Map();
let current = '';
process.on('unhandledRejection', (error) => fail('unhandled rejection', error));
process.on('uncaughtException', (error) => fail('uncaught exception', error));

function fail(kind, error) {
  const text = inspect(error, { depth: 1, getters: false });
  failures.push(`${current}: ${kind}: ${text.slice(0, 900)}`);
}

async function writeFiles() {
  const at = (name) => path.join(directory, name);
  const matrix = Float32Array.from({ length: 18 }, (_, i) => i + 1);
  await api.writeNpy(at('x.npy'), {
    type: 'float32',
    data: matrix,
    dims: [6, 3],
  });
  await api.writeNpy(at('l.npy'), {
    type: 'int32',
    data: Int32Array.of(1, 2),
    dims: [2],
  });
  await api.writeSafetensors(at('x.safetensors'), {
    tensors: [
      {
        name: 'x',
        dtype: 'F32',
        shape: [6, 3],
        chunks: [new Uint8Array(matrix.buffer)],
      },
    ],
  });
  const texts = {
    'x.ark': 'a [ 1 2 3 ]\nb [ 4 5 6 ]\nc [ 7 8 9 ]\n',
    'x.scp': ['a', 'b', 'c']
      .map((name, row) => `${name} ${at('x.ark')}:${12 * row + 2}\n`)
      .join(''),
    utt2spk: 'u1 a\nu2 b\n',
    spk2utt: 'a u1\nb u2\n',
    trials: '1 a b\n0 a c\n',
    pairs: '1 2 1\n1 3 0\n',
    templates: '1.jpg 1 7\n2.jpg 1 8\n',
  };
  for (const [name, text] of Object.entries(texts)) {
    writeFileSync(at(name), text);
  }
  const head = new api.PrototypeHead({
    identities: 9,
    dim: 4,
    loss: api.qMargin({ scale: 8 }),
    optimizer: api.sgd({ momentum: 0.9 }),
    device: 'cpu',
  });
  head.stepSync({ data: Float32Array.of(1, 2, 3, 4), dims: [1, 4] }, [2]);
  await head.save(at('head.safetensors'));
  head.dispose();
  return {
    npy: at('x.npy'),
    labels: at('l.npy'),
    safetensors: at('x.safetensors'),
    ark: at('x.ark'),
    scp: at('x.scp'),
    utt2spk: at('utt2spk'),
    spk2utt: at('spk2utt'),
    trials: at('trials'),
    pairs: at('pairs'),
    templates: at('templates'),
    head: at('head.safetensors'),
  };
}

/** What the catalogue makes arguments with. */
function generator(hostility, device) {
  return {
    ...hostility.random,
    files,
    device: () => device,
    signal: () => hostility.signal(),
    fail: () => hostility.throwSomething(),
    output: (end) => path.join(directory, `out${end}`),
  };
}

/** The function behind a name of the catalogue, to be called with its arguments. */
function resolve(name, self) {
  if (name.startsWith('new ')) {
    const Class = publicThings[name.slice(4)];
    return (args) => new Class(...args);
  }
  // A symbol's name may have dots of its own.
  const [owner, ...parts] = name.split('.');
  if (parts.length === 0) return (args) => publicThings[name](...args);
  const member = parts.join('.');
  const Class = publicThings[owner];
  const isSetter = member.endsWith('=');
  const plain = isSetter ? member.slice(0, -1) : member;
  const isStatic = self === undefined;
  const holder = isStatic ? Class : Class.prototype;
  const key = memberKey(holder, plain);
  const found = Object.getOwnPropertyDescriptor(holder, key);
  if (isSetter) return (args) => found.set.call(self, args[0]);
  if (found.get) return () => found.get.call(self);
  return (args) => found.value.apply(isStatic ? Class : self, args);
}

/** Uses what a call returned as a caller would, and frees it. */
async function use(result, hostility, g, args) {
  if (result === null || typeof result !== 'object') return;
  if (typeof result.backwardSync === 'function') {
    const args = [{ data: g.floats(3), dims: [3] }];
    hostility.mutate(args);
    await use(
      await (g.chance(0.5)
        ? result.backward(...args)
        : result.backwardSync(...args)),
      hostility,
      g,
      args,
    );
  } else if (result.gradEmbeddings instanceof api.DeviceTensor) {
    result.gradEmbeddings.dispose();
  } else if (result instanceof api.DeviceTensor) {
    if (!result.disposed) result.getDataSync();
    result.dispose();
  } else if (result instanceof api.PrototypeHead) {
    if (result.identities < 100)
      result.nearestSync({
        data: new Float32Array(result.dim).fill(1),
        dims: [1, result.dim],
      });
    result.dispose();
  } else if (typeof result.rowsOf === 'function') {
    // A plan of huge batches makes them when it is asked to.
    if (result.stepsPerEpoch > 0 && isSmallPlan(args)) result.rowsOf(0);
  } else if (typeof result.next === 'function') {
    let taken = 0;
    for await (const _ of result) if (++taken === 3) break;
  } else if (typeof result.close === 'function') {
    await result.close();
  }
}

/** Whether no number of a plan's options is large. */
function isSmallPlan([given]) {
  return Object.values(Object.getOwnPropertyDescriptors(given)).every(
    ({ value }) =>
      value === undefined || isTypedArray(value) || Math.abs(value) < 1e5,
  );
}

const isLanguages = (error) =>
  error instanceof TypeError &&
  /^Class constructors? \S*\s?cannot be invoked without 'new'/.test(
    error.message,
  );

function judge(error, hostility, isForeign) {
  if (error instanceof api.AlphaMarginError) {
    outcomes.refused += 1;
    if (!CODES.has(error.code) || typeof error.message !== 'string') {
      fail('unknown code', error);
    }
  } else if (hostility.answersFor(error)) {
    outcomes['handed on'] += 1;
  } else if (isLanguages(error)) {
    // A caller's function that cannot be called like one: a class.
    outcomes['handed on'] += 1;
  } else if (isForeign && error instanceof TypeError) {
    // A method on an object of another class: the language refuses, as for its own classes.
    outcomes['handed on'] += 1;
  } else {
    fail('not an AlphaMarginError', error);
  }
}

function draw(random) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let mark = random.next() * total;
  for (let index = 0; index < names.length; index += 1) {
    mark -= weights[index];
    if (mark < 0) return names[index];
  }
  return names.at(-1);
}

/** The buffers of arguments, at any depth. */
function views(value, found = [], depth = 0) {
  try {
    if (isTypedArray(value)) found.push(value);
    else if (typeof value === 'object' && value !== null && depth < 4)
      for (const key of Object.keys(value)) {
        const own = Object.getOwnPropertyDescriptor(value, key);
        if ('value' in own) views(own.value, found, depth + 1);
      }
  } catch {
    // A hostile object that does not let itself be looked into.
  }
  return found;
}

async function runCall(index) {
  const hostility = new Hostility(uniform(seed, index));
  const { random } = hostility;
  const name = draw(chooser(uniform(seed, index, 1)));
  const entry = CATALOGUE[name];
  current = `--seed ${seed} --only ${index} (${name})`;
  called.set(name, (called.get(name) ?? 0) + 1);
  const device = hasEmulation && random.chance(0.03) ? 'cuda-emulated' : 'cpu';
  const g = generator(hostility, device);
  let self;
  let isForeign = false;
  try {
    self = await entry.on?.(g);
    const args = entry.make(g);
    hostility.interruptions.push(
      () => self?.dispose?.(),
      () => views(args).forEach(detach),
      () => random.pick([api.memory, api.backendInfo])(),
      () => resolve(name, self)(args),
    );
    hostility.mutate(args);
    current += ` ${hostility.story.join(', ')}`;
    let receiver = self;
    if (self !== undefined && random.chance(0.02)) {
      isForeign = true;
      receiver = random.pick([
        {},
        Object.create(Object.getPrototypeOf(self)),
        structuredClone({ ...self }),
        null,
      ]);
      if (receiver === null) receiver = Object.freeze([]);
    }
    let result = resolve(name, receiver)(args);
    if (typeof result?.then === 'function') {
      if (random.chance(0.25)) views(args).forEach(detach);
      if (random.chance(0.1)) self?.dispose?.() ?? self?.close?.();
      result = await inTime(result);
    }
    await inTime(use(result, hostility, g, args));
    outcomes.returned += 1;
  } catch (error) {
    // Making good arguments fails only where their own getters have acted already.
    judge(error, hostility, isForeign);
  }
  self?.dispose?.();
  await self?.close?.();
  entry.after?.();
}

function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('hangs')), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const exported = exportedNames([api, data, verification]);
const missing = [...exported].filter((name) => !(name in CATALOGUE));
const stale = Object.keys(CATALOGUE).filter((name) => !exported.has(name));
check(
  missing.length === 0 && stale.length === 0,
  `every export has a generator (${exported.size} functions and methods)`,
  `without one: ${missing.join(', ')}; of nothing: ${stale.join(', ')}`,
);

await collectGarbage();
const before = api.memory();
// After a crash the runner reads here which call it was.
const log = options.log === undefined ? undefined : openSync(options.log, 'w');
const started = performance.now();
if (options.only !== undefined) {
  await runCall(Number(options.only));
} else {
  for (let index = 0; index < calls; index += 1) {
    if (log !== undefined) {
      writeSync(log, `--seed ${seed} --only ${index}`.padEnd(60), 0);
    }
    await runCall(index);
    if (failures.length >= MOST_FAILURES_SHOWN) break;
  }
}
if (log !== undefined) closeSync(log);
await collectGarbage();
const after = api.memory();

for (const failure of failures) console.log(`      ${failure}`);
const seconds = (performance.now() - started) / 1000;
const tried = outcomes.returned + outcomes.refused + outcomes['handed on'];
figure('calls tried', tried + failures.length);
figure('functions and methods called', called.size);
for (const [outcome, count] of Object.entries(outcomes)) figure(outcome, count);
figure('calls per second', Math.round(tried / seconds));
figure('bytes leaked on the host', after.host - before.host);
figure('bytes leaked on devices', after.device - before.device);
check(
  failures.length === 0,
  'every hostile call is refused with a typed error',
);
check(
  after.host === before.host && after.device === before.device,
  'memory is back to where it was',
);
