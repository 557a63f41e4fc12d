// Time and memory of one head, in a process of its own so that its peak memory is its own too.
// Argument: { setting, seconds, smallestSamples, threads } as JSON. Prints the result as JSON.
import { readFileSync } from 'node:fs';
import {
  arcFace,
  backendInfo,
  cosFace,
  entmaxHead,
  PrototypeHead,
  qMargin,
  setThreadCount,
  sgd,
  tensor,
} from '../dist/index.js';
import { fillNormal, uniform } from './random.mjs';
import { summarize } from './statistics.mjs';

const LOSSES = {
  'q-margin': qMargin,
  cosface: cosFace,
  arcface: arcFace,
  entmax: entmaxHead,
};
const WARM_UPS = 2;
const MOST_SAMPLES = 200;

/** Bytes of a field of /proc/self/status. */
function statusBytes(field) {
  const status = readFileSync('/proc/self/status', 'utf8');
  return (
    Number(status.match(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm'))[1]) * 1024
  );
}

const { setting, seconds, smallestSamples, threads } = JSON.parse(
  process.argv[2],
);
const { batch, identities, dim, loss, alpha, scale, margin } = setting;
if (threads !== undefined) setThreadCount(threads);
const info = backendInfo();

const random = uniform(1);
const data = new Float32Array(batch * dim);
const labels = new Int32Array(batch);
// Larger than any last-level cache: walking it leaves nothing of the prototypes there. Prototypes
// beyond that size do so themselves.
const evictor = new Uint8Array(4 * identities * dim < 2 ** 27 ? 2 ** 27 : 0);
let walk = 0;

function freshBatch() {
  fillNormal(random, data);
  for (let row = 0; row < batch; row += 1) {
    labels[row] = Math.floor(random() * identities);
  }
  walk += 1;
  evictor.fill(walk & 0xff);
}
freshBatch();

// From here on memory grows for the head's sake only. What Node, the addon and the buffers above
// take is not the head's.
const before = statusBytes('VmRSS');
const head = new PrototypeHead({
  identities,
  dim,
  loss: LOSSES[loss]({ alpha, scale, margin }),
  optimizer: sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 5e-4 }),
});

const samples = [];
const totals = { survivors: 0, support: 0, touched: 0, overflowRows: 0 };
let total = 0;
for (let step = 0; ; step += 1) {
  freshBatch();
  const embeddings = tensor(data, [batch, dim]);
  const start = process.hrtime.bigint();
  const { stats } = await head.step(embeddings, labels);
  const elapsed = Number(process.hrtime.bigint() - start) / 1e9;
  if (step < WARM_UPS) continue;
  samples.push(elapsed);
  total += elapsed;
  totals.survivors += stats.survivors;
  totals.support += stats.support;
  totals.touched += stats.touchedPrototypes;
  totals.overflowRows += stats.overflowRows;
  const enough = samples.length >= smallestSamples && total >= seconds;
  if (enough || samples.length >= MOST_SAMPLES) break;
}

const peak = statusBytes('VmHWM');
const memory = head.memory();
const stateBytes = memory.prototypes + memory.optimizer;
const rows = samples.length * batch;
const time = summarize(samples);
console.log(
  JSON.stringify({
    time,
    gigaflops: (2 * batch * identities * dim) / time.median / 1e9,
    perRow: {
      survivors: totals.survivors / rows,
      support: totals.support / rows,
    },
    perStep: {
      touchedPrototypes: totals.touched / samples.length,
      overflowRows: totals.overflowRows / samples.length,
    },
    memory: {
      prototypeBytes: memory.prototypes,
      optimizerBytes: memory.optimizer,
      scratchBytes: memory.scratch,
      // The acceptance figure: everything this process ever held, less the state, less what it
      // held before the head was made.
      peakBeyondStateBytes: peak - stateBytes - before,
      // The same with Node, the addon and this program's own buffers.
      peakBeyondStateWithRuntimeBytes: peak - stateBytes,
      limitBytes: Math.round(0.02 * 4 * batch * identities + 64e6),
    },
    threads: info.threads,
    instructionSet: info.instructionSet,
  }),
);
head.dispose();
