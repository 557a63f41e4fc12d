// One operation of one head, in a process of its own so that its peak memory is its own too.
// Argument: { setting, operation, threads } as JSON, `operation` one of `operations` below; on a GPU
// also { device, options of the head }. There the embeddings lie on the device before the clock starts.
import {
  backendInfo,
  DeviceTensor,
  PrototypeHead,
  setThreadCount,
  tensor,
} from '../../dist/index.js';
import { setTrainedLike, trainedLike } from '../clusters.mjs';
import { fillNormal, uniform } from '../random.mjs';
import { lossOf, optimizerOf } from '../settings.mjs';
import { evict, peakBytes, residentBytes, secondsOf, serve } from './serve.mjs';

const {
  setting,
  operation,
  threads,
  device = 'cpu',
  options,
} = JSON.parse(process.argv[2]);
const onGpu = device !== 'cpu';
const { batch, identities, dim, k, shadow } = setting;
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
  device,
  ...(shadow !== undefined && { shadow }),
  ...options,
});
if (clusters !== undefined) await setTrainedLike(head, clusters);

const operations = {
  step: (embeddings) => head.step(embeddings, labels),
  stepSync: (embeddings) => head.stepSync(embeddings, labels),
  evaluate: (embeddings) => head.evaluate(embeddings, labels),
  forward: (embeddings) => head.forward(embeddings, labels),
  nearest: (queries) => head.nearest(queries, { k }),
};

// More than the second-level cache of any GPU; what it overwrites there is gone.
const gpuEvictor = new Float32Array(onGpu ? 2 ** 26 : 0);

/** The batch where the head is, and nothing of other arrays in its caches. */
async function inputs() {
  freshBatch();
  const embeddings = tensor(data, [batch, dim]);
  if (!onGpu) return embeddings;
  const uploaded = await DeviceTensor.upload(embeddings, { device });
  const evictor = tensor(gpuEvictor, [gpuEvictor.length]);
  (await DeviceTensor.upload(evictor, { device })).dispose();
  return uploaded;
}

async function sample() {
  const embeddings = await inputs();
  const { seconds, result } = await secondsOf(() =>
    operations[operation](embeddings),
  );
  const { stats } = result;
  if (onGpu) {
    embeddings.dispose();
    result.gradEmbeddings?.dispose();
  }
  if (stats === undefined) return { seconds };
  return {
    seconds,
    movedBytes: stats.movedBytes,
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
