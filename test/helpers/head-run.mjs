// What a head does in a few calls, as one line of JSON: counters and a digest of all results. In a
// process of its own, whose environment chooses the kernels.
import { createHash } from 'node:crypto';
import {
  backendInfo,
  PrototypeHead,
  qMargin,
  setThreadCount,
  sgd,
  tensor,
} from '../../dist/index.js';

// Numbers of (−1, 1) whose directions are close to uniform: sums of four from a linear generator.
let state = 12345;
function number() {
  let sum = 0;
  for (let i = 0; i < 4; i += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    sum += state / 2 ** 32 - 0.5;
  }
  return sum / 2;
}

setThreadCount(2);
const [batch, identities, dim] = [37, 2500, 111];
const head = new PrototypeHead({
  identities,
  dim,
  loss: qMargin({ alpha: 1.5, scale: 12, margin: 0.2 }),
  optimizer: sgd({ learningRate: 0.3, momentum: 0.9, weightDecay: 5e-4 }),
});
const hash = createHash('sha256');
const add = (array) =>
  hash.update(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
const survivors = [];
for (let step = 0; step < 4; step += 1) {
  const rows = Float32Array.from({ length: batch * dim }, number);
  const embeddings = tensor(rows, [batch, dim]);
  const labels = Int32Array.from(
    { length: batch },
    (_, row) => (row * 67 + step) % identities,
  );
  const result = head.stepSync(embeddings, labels);
  const { identities: found, cosines } = head.nearestSync(embeddings, { k: 3 });
  for (const array of [result.losses, result.gradEmbeddings.data]) add(array);
  for (const array of [found, cosines]) add(array);
  survivors.push(result.stats.survivors);
}
add((await head.prototypes()).data);
const { instructionSet } = backendInfo();
console.log(
  JSON.stringify({ instructionSet, survivors, digest: hash.digest('hex') }),
);
