// The dense CosFace step in tfjs: normalise, logits of all identities, margin, cross-entropy,
// backward, SGD with momentum. Argument: { setting, backend: 'cpu' | 'wasm', threads } as JSON.
import { createRequire } from 'node:module';
import path from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { fillNormal, uniform } from '../random.mjs';
import { evict, peakBytes, secondsOf, serve } from './serve.mjs';

const { setting, backend, threads } = JSON.parse(process.argv[2]);
const { batch, identities, dim, scale, margin } = setting;
if (backend === 'wasm') {
  const require = createRequire(import.meta.url);
  const main = require.resolve('@tensorflow/tfjs-backend-wasm');
  setWasmPaths(`${path.dirname(main)}/`);
  setThreadsCount(threads);
}
if (!(await tf.setBackend(backend))) {
  console.error(`tfjs cannot use its backend '${backend}'`);
  process.exit(1);
}

const random = uniform(1);
const normals = (rows) => {
  const data = new Float32Array(rows * dim);
  fillNormal(random, data);
  return tf.tensor2d(data, [rows, dim]);
};
const unit = (x) => x.div(x.square().sum(1, true).sqrt());
const prototypes = tf.variable(normals(identities));
const optimizer = tf.train.momentum(0.1, 0.9);

function meanLoss(embeddings, weights, target) {
  const cosines = unit(embeddings).matMul(unit(weights), false, true);
  const logits = cosines.sub(target.mul(margin)).mul(scale);
  return tf.losses.softmaxCrossEntropy(target, logits);
}

/** One step; the gradient of the embeddings is read back, as a backbone would. */
async function step(embeddings, labels) {
  const gradient = tf.tidy(() => {
    const target = tf.oneHot(labels, identities).toFloat();
    const [gradEmbeddings, gradPrototypes] = tf.grads((x, w) =>
      meanLoss(x, w, target),
    )([embeddings, prototypes]);
    optimizer.applyGradients({ [prototypes.name]: gradPrototypes });
    return gradEmbeddings;
  });
  await gradient.data();
  // Reading a prototype waits for the update.
  const row = tf.tidy(() => prototypes.slice([0, 0], [1, dim]));
  await row.data();
  tf.dispose([gradient, row]);
}

async function sample() {
  const embeddings = normals(batch);
  const labels = tf.tensor1d(
    Int32Array.from({ length: batch }, () => Math.floor(random() * identities)),
    'int32',
  );
  evict();
  const { seconds } = await secondsOf(() => step(embeddings, labels));
  tf.dispose([embeddings, labels]);
  return { seconds };
}

await serve(
  { version: `tfjs ${tf.version.tfjs}, ${backend}`, threads },
  sample,
  () => ({ peakBytes: peakBytes() }),
);
process.exit(0); // the threads of the wasm backend would keep it alive
