// Embeddings from an ONNX model → a projection trained by a head → verification of identities that
// were not trained on. The model is a made-up one, so that nothing has to be downloaded: everything
// from `extract` on is what a real extractor of faces or speakers needs.
//
//     npm install --ignore-scripts && npm start
//
// Exits with 1 if the trained projection does not reach the rate below.
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { tensor, writeNpy } from 'alphamargin';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { encodeModel } from './model.mjs';

const [INPUTS, DIM] = [48, 64];
const [TRAINING, TEST, SAMPLES] = [300, 100, 8];
const BATCH = 64;

/** TAR that the trained projection must reach at FAR 1e-2 on unseen identities. */
const REQUIRED = 0.75;

/** Standard normal numbers, the same in every run (mulberry32, Box–Muller). */
function normal(seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return () =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Recordings [N, INPUTS]: half of the numbers tell identities apart, the others disturb. */
function record(labels) {
  const data = new Float32Array(labels.length * INPUTS);
  const noise = normal(1);
  labels.forEach((label, row) => {
    const own = normal(1000 + 7919 * label);
    for (let k = 0; k < INPUTS; k += 1) {
      data[row * INPUTS + k] =
        k < INPUTS / 2 ? own() + 0.6 * noise() : 2 * noise();
    }
  });
  return data;
}

/** Embeddings [N, DIM] of recordings, in batches as large as the memory allows. */
async function extract(session, recordings, rows) {
  const embeddings = new Float32Array(rows * DIM);
  for (let first = 0; first < rows; first += BATCH) {
    const count = Math.min(BATCH, rows - first);
    const batch = recordings.subarray(first * INPUTS, (first + count) * INPUTS);
    const input = new Tensor('float32', batch, [count, INPUTS]);
    const { embedding } = await session.run({ recording: input });
    embeddings.set(embedding.data, first * DIM);
  }
  return embeddings;
}

const weights = Float32Array.from({ length: INPUTS * DIM }, normal(2)).map(
  (value) => value / Math.sqrt(4 * INPUTS),
);
const folder = await mkdtemp(path.join(tmpdir(), 'alphamargin-onnx-'));
const inFolder = (name) => path.join(folder, name);
const main = fileURLToPath(
  new URL('cli/main.js', import.meta.resolve('alphamargin')),
);
/** `npx alphamargin …` */
const alphamargin = (...options) =>
  execFileSync(process.execPath, [main, ...options], { stdio: 'inherit' });
try {
  await writeFile(inFolder('model.onnx'), encodeModel(weights, INPUTS, DIM));
  const session = await InferenceSession.create(inFolder('model.onnx'));
  const rows = (TRAINING + TEST) * SAMPLES;
  const labels = Int32Array.from({ length: rows }, (_, row) =>
    Math.floor(row / SAMPLES),
  );
  const embeddings = await extract(session, record(labels), rows);

  const split = labels.map((label) => (label < TRAINING ? 0 : 1));
  await writeNpy(inFolder('embeddings.npy'), tensor(embeddings, [rows, DIM]));
  await writeNpy(inFolder('labels.npy'), {
    type: 'int32',
    data: labels,
    dims: [rows],
  });
  await writeNpy(inFolder('split.npy'), {
    type: 'int32',
    data: split,
    dims: [rows],
  });

  const files = ['embeddings', 'labels', 'split'].flatMap((name) => [
    `--${name}`,
    inFolder(`${name}.npy`),
  ]);
  const head = inFolder('head.safetensors');
  alphamargin(
    'train',
    ...files,
    '--project',
    '32',
    '--lr',
    '0.1',
    '--out',
    head,
  );
  const json = inFolder('result.json');
  alphamargin('verify', ...files, '--head', head, '--json', json);

  const { systems } = JSON.parse(await readFile(json, 'utf8'));
  const { tar } = systems
    .at(-1)
    .summary.tarAtFar.find(({ far }) => far === 1e-2);
  if (tar < REQUIRED) {
    console.error(`TAR ${tar} at FAR 1e-2 is below ${REQUIRED}`);
    process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true });
}
