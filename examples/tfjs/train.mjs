// Trains a small convolutional network with TensorFlow.js through a head of alphamargin and
// verifies identities that it has never seen. Pure JavaScript on the tfjs side: no native backend.
//
//     npm install && npm start
//
// Exits with 1 if the trained network does not reach the rates below.
import * as tf from '@tensorflow/tfjs';
import {
  eer,
  PrototypeHead,
  qMargin,
  scoreTrials,
  sgd,
  tarAtFar,
} from 'alphamargin';
import { headLoss } from 'alphamargin/tfjs';
import { drawAll, SIZE, uniform } from './images.mjs';

const TRAINING_IDENTITIES = 200;
const TEST_IDENTITIES = 50;
const IMAGES_PER_TEST_IDENTITY = 8;
const DIM = 32;
const BATCH = 32;
const STEPS = 350;

/** TAR that the trained network must reach on unseen identities, by FAR. */
const REQUIRED = new Map([
  [1e-1, 0.87],
  [1e-2, 0.55],
]);

const { conv2d, dense, flatten } = tf.layers;
const convolution = (filters, options = {}) =>
  conv2d({
    filters,
    kernelSize: 3,
    strides: 2,
    padding: 'same',
    activation: 'relu',
    kernelInitializer: tf.initializers.heNormal({ seed: filters }),
    ...options,
  });

/** Pixels to embeddings [B, DIM]. */
function makeBackbone() {
  return tf.sequential({
    layers: [
      convolution(8, { inputShape: [SIZE, SIZE, 1] }),
      convolution(16),
      flatten(),
      dense({
        units: DIM,
        kernelInitializer: tf.initializers.glorotNormal({ seed: 1 }),
      }),
    ],
  });
}

function train(backbone, head) {
  const optimizer = tf.train.adam(3e-3);
  const next = uniform(1);
  let mean = 0;
  for (let step = 1; step <= STEPS; step += 1) {
    const labels = Int32Array.from({ length: BATCH }, () =>
      Math.floor(next() * TRAINING_IDENTITIES),
    );
    const pixels = drawAll(labels, next);
    const loss = optimizer.minimize(() => {
      const images = tf.tensor4d(pixels, [BATCH, SIZE, SIZE, 1]);
      return headLoss(head, backbone.apply(images), labels);
    }, true);
    mean += loss.dataSync()[0] / 50;
    loss.dispose();
    if (step % 50 === 0) {
      console.log(`step ${step}: mean loss ${mean.toFixed(3)}`);
      mean = 0;
    }
  }
}

/** Rates over all pairs of rows. */
async function verify(name, data, labels) {
  const dims = [labels.length, data.length / labels.length];
  const scores = await scoreTrials({ data, dims }, { labels });
  const rates = tarAtFar(scores, [...REQUIRED.keys()]);
  const columns = rates.map(
    ({ far, tar }) => `TAR ${tar.toFixed(3)} at FAR ${far}`,
  );
  console.log(
    `${name}: ${columns.join(', ')}, EER ${eer(scores).rate.toFixed(3)}`,
  );
  return rates;
}

await tf.setBackend('cpu');
const started = performance.now();
const head = new PrototypeHead({
  identities: TRAINING_IDENTITIES,
  dim: DIM,
  loss: qMargin({ alpha: 1.25, scale: 16, margin: 0.2 }),
  optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
});
const backbone = makeBackbone();
train(backbone, head);
head.dispose();

// Identities that come after those of the training.
const labels = Int32Array.from(
  { length: TEST_IDENTITIES * IMAGES_PER_TEST_IDENTITY },
  (_, row) => TRAINING_IDENTITIES + Math.floor(row / IMAGES_PER_TEST_IDENTITY),
);
const pixels = drawAll(labels, uniform(2));
const embeddings = tf.tidy(() =>
  backbone
    .predict(tf.tensor4d(pixels, [labels.length, SIZE, SIZE, 1]))
    .dataSync(),
);
await verify('raw pixels', pixels, labels);
const rates = await verify('trained', embeddings, labels);
const seconds = (performance.now() - started) / 1000;
console.log(`${seconds.toFixed(0)} s in all`);
for (const { far, tar } of rates) {
  if (tar >= REQUIRED.get(far)) continue;
  console.error(`TAR ${tar} at FAR ${far} is below ${REQUIRED.get(far)}`);
  process.exitCode = 1;
}
