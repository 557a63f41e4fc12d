// Part 5. Training that is killed (SIGKILL) at random moments while it saves: the checkpoint is always
// the old or the new one, whole, and the run that resumes from it every time ends with the bits of a
// run that was never interrupted. A full disk, a limit on the size of files and missing permissions are
// typed errors that keep the old file. Every flipped bit of a checkpoint is found.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as api from 'alphamargin';
import {
  amount,
  check,
  chooser,
  figure,
  options,
  sameBits,
  skip,
  temporaryDirectory,
  uniform,
} from './support.mjs';

const here = fileURLToPath(import.meta.url);
const [identities, dim, rows] = [2000, 32, 16];

const newHead = () =>
  new api.PrototypeHead({
    identities,
    dim,
    device: 'cpu',
    loss: api.qMargin({ alpha: 1.25, scale: 16 }),
    optimizer: api.sgd({ learningRate: 0.3, momentum: 0.9 }),
  });

/** The batch of a step follows from its number alone. */
function batchOf(step) {
  const g = chooser(uniform(7, step));
  const data = g.floats(rows * dim);
  return [{ data, dims: [rows, dim] }, g.integers(rows, identities)];
}

async function stepOf(file) {
  const opened = await api.openSafetensors(file);
  await opened.close();
  return Number(opened.metadata.step);
}

const save = (head, file, step) =>
  head.save(file, { extra: { metadata: { step: String(step) } } });

/** Runs in a process of its own: trains and saves after every step, until it is killed. */
async function trainForEver(file) {
  const head = await api.PrototypeHead.load(file, { device: 'cpu' });
  let step = await stepOf(file);
  process.stdout.write('ready\n');
  for (;;) {
    head.stepSync(...batchOf(step));
    step += 1;
    await save(head, file, step);
  }
}

/** Runs in a process of its own: tries to replace a checkpoint where that must fail. */
async function saveOnce(file) {
  const head = newHead();
  try {
    await save(head, file, 1);
    console.log('saved');
  } catch (error) {
    console.log(`${error.name} ${error.code} ${error.message}`);
  }
  head.dispose();
}

async function killWhileSaving() {
  const directory = temporaryDirectory();
  const file = path.join(directory, 'head.safetensors');
  const g = chooser(uniform(Number(options.seed), 5));
  const reference = newHead();
  let referenceStep = 0;
  await save(reference, file, 0);
  const kills = amount(200, 12);
  let damaged = '';
  let survived = 0;
  let duringSave = 0;
  for (let kill = 0; kill < kills && damaged === ''; kill += 1) {
    const child = spawn(process.execPath, [here, 'train', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, g.next() * 150));
    child.kill('SIGKILL');
    await ended;
    const debris = readdirSync(directory).filter((name) =>
      name.endsWith('.tmp'),
    );
    duringSave += debris.length > 0 ? 1 : 0;
    for (const name of debris) rmSync(path.join(directory, name));
    try {
      const step = await stepOf(file);
      for (; referenceStep < step; referenceStep += 1) {
        reference.stepSync(...batchOf(referenceStep));
      }
      const head = await api.PrototypeHead.load(file, { device: 'cpu' });
      const [found, expected] = [
        await head.prototypes(),
        await reference.prototypes(),
      ];
      head.dispose();
      if (step < referenceStep) damaged = 'an older checkpoint came back';
      else if (!sameBits(found.data, expected.data))
        damaged = `step ${step} has other bits`;
      else survived += 1;
    } catch (error) {
      damaged = `${error}`;
    }
  }
  reference.dispose();
  figure('kills survived', `${survived} of ${kills}`);
  figure('kills that came in the middle of a save', duringSave);
  figure('steps trained across the kills', referenceStep);
  check(
    damaged === '',
    'a killed save leaves the old or the new checkpoint, and resumed training has the same bits',
    damaged,
  );
}

/** Saves in a child whose circumstances make it fail; the old file must stay. */
function checkRefusal(name, file, expected, run) {
  const before = readFileSync(file);
  const output = run(file);
  const isKept = readFileSync(file).equals(before);
  const debris = readdirSync(path.dirname(file)).filter((entry) =>
    entry.endsWith('.tmp'),
  );
  check(
    expected.test(output) && isKept && debris.length === 0,
    `${name}: a typed error, the old checkpoint is kept, nothing is left behind`,
    `${output}; kept: ${isKept}; left: ${debris}`,
  );
}

const inChild = (command, args, extra = {}) => {
  const { stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    ...extra,
  });
  return `${stdout}${stderr}`;
};

async function refuseToSave() {
  const directory = temporaryDirectory();
  const small = new api.PrototypeHead({
    identities: 3,
    dim: 2,
    device: 'cpu',
    loss: api.qMargin(),
    optimizer: api.sgd(),
  });
  const file = path.join(directory, 'head.safetensors');
  await save(small, file, 0);
  checkRefusal(
    'a limit on the size of files',
    file,
    /^AlphaMarginError ERR_CHECKPOINT .*EFBIG/,
    () =>
      inChild('bash', [
        '-c',
        'ulimit -f 32 && exec "$0" "$1" save "$2"',
        process.execPath,
        here,
        file,
      ]),
  );

  const disk = path.join(directory, 'disk');
  mkdirSync(disk);
  const mounted =
    process.getuid() === 0 &&
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])
      .status === 0;
  if (mounted) {
    try {
      const onDisk = path.join(disk, 'head.safetensors');
      await save(small, onDisk, 0);
      checkRefusal(
        'a full disk',
        onDisk,
        /^AlphaMarginError ERR_CHECKPOINT .*ENOSPC/,
        () => inChild(process.execPath, [here, 'save', onDisk]),
      );
    } finally {
      spawnSync('umount', [disk]);
    }
  } else {
    skip('a full disk', 'mounting a small file system needs root');
  }

  const locked = path.join(directory, 'locked');
  mkdirSync(locked);
  const inLocked = path.join(locked, 'head.safetensors');
  await save(small, inLocked, 0);
  small.dispose();
  chmodSync(inLocked, 0o644);
  chmodSync(directory, 0o755);
  chmodSync(locked, 0o555);
  // Root may write anywhere: the child is nobody then.
  const identity = process.getuid() === 0 ? { uid: 65534, gid: 65534 } : {};
  const canRun =
    spawnSync(process.execPath, [here, 'nothing'], identity).status === 0;
  if (canRun) {
    checkRefusal(
      'a directory without permission',
      inLocked,
      /^AlphaMarginError ERR_CHECKPOINT .*EACCES/,
      () => inChild(process.execPath, [here, 'save', inLocked], identity),
    );
  } else {
    skip(
      'a directory without permission',
      'this folder cannot be read by another user',
    );
  }
  chmodSync(locked, 0o755);
}

async function flipBits() {
  const directory = temporaryDirectory('/dev/shm');
  const file = path.join(directory, 'head.safetensors');
  const head = new api.PrototypeHead({
    identities: 5,
    dim: 3,
    device: 'cpu',
    loss: api.qMargin({ scale: 8 }),
    optimizer: api.sgd({ momentum: 0.9 }),
  });
  head.stepSync({ data: Float32Array.of(1, 2, 3), dims: [1, 3] }, [1]);
  await save(head, file, 1);
  head.dispose();
  const whole = readFileSync(file);
  const stride = amount(1, 17);
  let tried = 0;
  const missed = [];
  for (let bit = 0; bit < 8 * whole.length; bit += stride) {
    const damaged = Buffer.from(whole);
    damaged[bit >> 3] ^= 1 << (bit & 7);
    writeFileSync(file, damaged);
    tried += 1;
    try {
      (await api.PrototypeHead.load(file)).dispose();
      missed.push(bit);
    } catch (error) {
      if (error.code !== 'ERR_CHECKPOINT') missed.push(`${bit}: ${error}`);
    }
  }
  figure('bits flipped', tried);
  figure('flipped bits that were found', tried - missed.length);
  check(
    missed.length === 0,
    'every flipped bit of a checkpoint is found',
    missed.slice(0, 10).join('; '),
  );
}

const [task, target] = process.argv.slice(2);
if (task === 'train') await trainForEver(target);
else if (task === 'save') await saveOnce(target);
else if (task !== 'nothing') {
  await killWhileSaving();
  await refuseToSave();
  await flipBits();
}
