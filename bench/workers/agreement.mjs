// A few training steps, for comparing their results between threads and instruction sets. Argument:
// { setting, steps, threads } as JSON. Prints one line of JSON; arrays are base64.
import { createHash } from 'node:crypto';
import {
  backendInfo,
  PrototypeHead,
  setThreadCount,
  tensor,
} from '../../dist/index.js';
import { setTrainedLike, trainedLike } from '../clusters.mjs';
import { uniform } from '../random.mjs';
import { lossOf, optimizerOf } from '../settings.mjs';

const { setting, steps, threads } = JSON.parse(process.argv[2]);
const { batch, identities, dim } = setting;
setThreadCount(threads);
const head = new PrototypeHead({
  identities,
  dim,
  loss: lossOf(setting),
  optimizer: optimizerOf(),
});
const clusters = trainedLike(dim);
if (setting.prototypes === 'trained-like') await setTrainedLike(head, clusters);

const random = uniform(7);
const hash = createHash('sha256');
const base64 = (array) => Buffer.from(array.buffer).toString('base64');
let first;
for (let step = 0; step < steps; step += 1) {
  const data = new Float32Array(batch * dim);
  const labels = new Int32Array(batch);
  for (let row = 0; row < batch; row += 1) {
    labels[row] = Math.floor(random() * identities);
    const vector = data.subarray(row * dim, (row + 1) * dim);
    clusters.fillEmbedding(labels[row], random, vector);
  }
  const { losses, gradEmbeddings, supportSize } = await head.step(
    tensor(data, [batch, dim]),
    labels,
  );
  for (const array of [losses, gradEmbeddings.data, supportSize]) {
    hash.update(new Uint8Array(array.buffer));
  }
  // Later steps start from prototypes that differ by rounding already.
  first ??= { losses: base64(losses), gradient: base64(gradEmbeddings.data) };
}
hash.update(new Uint8Array((await head.prototypes()).data.buffer));
const { instructionSet } = backendInfo();
console.log(
  JSON.stringify({ instructionSet, digest: hash.digest('hex'), ...first }),
);
head.dispose();
