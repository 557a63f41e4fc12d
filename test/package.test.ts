import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { emulated } from './helpers/emulation.js';

/*
 * The built package as programs see it: imported by its name, required from CommonJS, in worker
 * threads. Every test is a process of its own, so that a crash shows as its exit code.
 */

const root = fileURLToPath(new URL('..', import.meta.url));

beforeAll(() => {
  if (existsSync(`${root}/dist/index.js`)) return;
  execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: root });
}, 120_000);

/** Runs a script in the package's folder; resolves with what it printed. */
async function run(script: string, kind: 'module' | 'commonjs') {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [`--input-type=${kind}`, '--eval', script],
    { cwd: root, timeout: 50_000 },
  );
  return stdout.trim();
}

/** Prints the posterior of two logits and the loss of one step of a small head. */
const use = `
  const p = entmaxSync(tensor(Float32Array.of(0.5, 0.25), [1, 2]), { alpha: 2 });
  const head = new PrototypeHead({
    identities: 3, dim: 2, loss: entmaxHead({ alpha: 1.5, scale: 4 }), optimizer: sgd(),
    prototypes: tensor(Float32Array.of(1, 0, 0, 1, -1, 0), [3, 2]),
  });
  head.step(tensor(Float32Array.of(1, 0), [1, 2]), Int32Array.of(1)).then((result) => {
    console.log([...p.data].join(), result.loss, result.supportSize[0]);
    head.dispose();
  });`;
const names = '{ entmaxHead, entmaxSync, PrototypeHead, sgd, tensor }';
// θ = (4, 0, −4), α = 1.5: the first class holds everything, ℓ = θ_1 − θ_2.
const expected = '0.625,0.375 4 1';

describe('the package', () => {
  it('is imported by ES modules', async () => {
    const script = `import ${names} from 'alphamargin';${use}`;
    expect(await run(script, 'module')).toBe(expected);
  });

  it('is required by CommonJS', async () => {
    const script = `const ${names} = require('alphamargin');${use}`;
    expect(await run(script, 'commonjs')).toBe(expected);
  });

  it('has its parts under names of their own', async () => {
    const script = `
      import { openEmbeddings } from 'alphamargin/data';
      import { eer } from 'alphamargin/verification';
      console.log(typeof openEmbeddings, typeof eer);`;
    expect(await run(script, 'module')).toBe('function function');
  });

  it('has its operations for tfjs under a name of their own', async () => {
    const ending = `
      console.log(entmax(tf.tensor1d([2, 1, -1]), { alpha: 2 }).dataSync().join());`;
    const es = `
      import '@tensorflow/tfjs-backend-cpu';
      import * as tf from '@tensorflow/tfjs-core';
      import { entmax } from 'alphamargin/tfjs';`;
    const commonjs = `
      require('@tensorflow/tfjs-backend-cpu');
      const tf = require('@tensorflow/tfjs-core');
      const { entmax } = require('alphamargin/tfjs');`;
    expect(await run(es + ending, 'module')).toBe('1,0,0');
    expect(await run(commonjs + ending, 'commonjs')).toBe('1,0,0');
  });

  it('is not loaded natively until it is used', async () => {
    const script = `
      import 'alphamargin';
      const addons = process.report.getReport().sharedObjects;
      console.log(addons.filter((file) => file.includes('alphamargin')).length);`;
    expect(await run(script, 'module')).toBe('0');
  });
});

/** Two heads trained at once give what each gives alone. */
const twoHeads = `
  import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
  import { memory, PrototypeHead, qMargin, sgd, tensor } from 'alphamargin';
  const make = (seed) => new PrototypeHead({
    identities: 3000, dim: 32, seed, loss: qMargin({ scale: 16 }), optimizer: sgd({ momentum: 0.9 }),
  });
  const batch = (seed) => [
    tensor(Float32Array.from({ length: 20 * 32 }, (_, k) => Math.sin(k * (seed + 1.5))), [20, 32]),
    Int32Array.from({ length: 20 }, (_, i) => (i * 77 + seed) % 3000),
  ];
  const train = async (head, seed) => {
    let last;
    for (let step = 0; step < 5; step += 1) last = await head.step(...batch(seed + step));
    const bits = Buffer.from((await head.prototypes()).data.buffer).toString('base64');
    return JSON.stringify([last.loss, bits]);
  };`;

describe('two heads', () => {
  it('at once in one thread do not disturb each other', async () => {
    const script = `${twoHeads}
      const alone = [await train(make(1), 1), await train(make(2), 2)];
      const together = await Promise.all([train(make(1), 1), train(make(2), 2)]);
      console.log(alone[0] !== alone[1], alone.join() === together.join());`;
    expect(await run(script, 'module')).toBe('true true');
  });

  it('in a worker thread and in the main thread give the same bits', async () => {
    const script = `${twoHeads}
      const source = \`${twoHeads}
        parentPort.postMessage(await train(make(workerData), workerData));\`;
      const worker = (seed) => new Promise((resolve, reject) => {
        const url = new URL('data:text/javascript,' + encodeURIComponent(
          source.replaceAll("'alphamargin'", "'" + import.meta.resolve('alphamargin') + "'")));
        new Worker(url, { workerData: seed }).on('message', resolve).on('error', reject);
      });
      const here = [await train(make(1), 1), await train(make(2), 2)];
      const there = await Promise.all([worker(1), train(make(2), 2), worker(2), worker(1)]);
      console.log(there[0] === here[0], there[1] === here[1], there[2] === here[1],
        there[3] === here[0]);`;
    expect(await run(script, 'module')).toBe('true true true true');
  });
});

describe('a worker that is terminated with work pending', () => {
  // The environment goes away while its calls run and wait: they must neither crash the process
  // nor keep it alive, and other threads go on.
  it.each(['step', 'entmax'])('does not end the process: %s', async (call) => {
    // Enough to be at work still when the worker ends; the emulated device takes longer for less.
    const [identities, rows] = emulated ? [3000, 400] : [30_000, 4000];
    const script = `
      import { Worker } from 'node:worker_threads';
      import { entmaxSync, tensor } from 'alphamargin';
      const source = \`
        import { parentPort } from 'node:worker_threads';
        import { cosFace, entmax, PrototypeHead, sgd, tensor } from '\${import.meta.resolve('alphamargin')}';
        const head = new PrototypeHead({
          identities: ${identities}, dim: 64, loss: cosFace(), optimizer: sgd(),
        });
        const x = tensor(Float32Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i)), [64, 64]);
        const big = tensor(new Float32Array(${rows} * 500), [${rows}, 500]);
        for (let i = 0; i < 4; i += 1) {
          if ('${call}' === 'step') head.step(x, new Int32Array(64));
          else entmax(big, { alpha: 1.1 });
        }
        setImmediate(() => parentPort.postMessage('running'));\`;
      for (let round = 0; round < 3; round += 1) {
        const url = new URL('data:text/javascript,' + encodeURIComponent(source));
        const worker = new Worker(url);
        await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
        await worker.terminate();
      }
      console.log(entmaxSync(tensor(Float32Array.of(1, 1), [1, 2])).data.join());`;
    expect(await run(script, 'module')).toBe('0.5,0.5');
  });
});
