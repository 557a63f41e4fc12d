// One operation of one head, in a process of its own so that its peak memory is its own too.
// Argument: { setting, operation, threads } as JSON; `operation` is
// one of `operations` below.
import {
  backendInfo,
  PrototypeHead,
  setThreadCount,
  tensor,
} from '../../dist/index.js';
import { setTrainedLike, trainedLike } from '../clusters.mjs';
import { fillNormal, uniform } from '../random.mjs';
import { lossOf, optimizerOf } from '../settings.mjs';
import { evict, peakBytes, residentBytes, secondsOf, serve } from './serve.mjs';

const { setting, operation, threads } = JSON.parse(process.argv[2]);
const { batch, identities, dim, k } = setting;
setThreadCount(threads);

const random = uniform(1);
const data = new Float32Array(batch * dim);
const labels = new Int32Array(batch);
const clusters =
  setting.prototypes === 'trained-like' ? trainedLike(dim) : undefined;

function freshBatch() {
  if (clusters === undefined) fillNormal(random, data);
  for (let row = 0; row < batch; row += 1) {
    labels[row] = Math.floor(random() * identities);
    const vector = data.subarray(row * dim, (row + 1) * dim);
    clusters?.fillEmbedding(labels[row], random, vector);
  }
  evict();
}
freshBatch();

// From here on memory grows for the head's sake only. What Node, the addon and the buffers above
// take is not the head's.
const before = residentBytes();
const head = new PrototypeHead({
  identities,
  dim,
  loss: lossOf(setting),
  optimizer: optimizerOf(),
});
if (clusters !== undefined) await setTrainedLike(head, clusters);

const operations = {
  step: (embeddings) => head.step(embeddings, labels),
  stepSync: (embeddings) => head.stepSync(embeddings, labels),
  evaluate: (embeddings) => head.evaluate(embeddings, labels),
  nearest: (queries) => head.nearest(queries, { k }),
};

async function sample() {
  freshBatch();
  const embeddings = tensor(data, [batch, dim]);
  const { seconds, result } = await secondsOf(() =>
    operations[operation](embeddings),
  );
  const { stats } = result;
  if (stats === undefined) return { seconds };
  return {
    seconds,
    survivorsPerRow: stats.survivors / batch,
    supportPerRow: stats.support / batch,
    touchedPrototypes: stats.touchedPrototypes,
    overflowRows: stats.overflowRows,
    zeroLossRows: stats.zeroLossRows,
  };
}

function end() {
  const peak = peakBytes();
  const memory = head.memory();
  const state = memory.prototypes + memory.optimizer;
  return {
    peakBytes: peak,
    prototypeBytes: memory.prototypes,
    optimizerBytes: memory.optimizer,
    bytesPerIdentity: state / identities,
    scratchBytes: memory.scratch,
    // Everything this process ever held, less the state, less what it held before the head was
    // made.
    peakBeyondStateBytes: peak - state - before,
    limitBytes: Math.round(0.02 * 4 * batch * identities + 64e6),
  };
}

const { version, instructionSet } = backendInfo();
await serve(
  { version: `alphamargin ${version}`, instructionSet, threads },
  sample,
  end,
);
