// Trains every loss on the CPU and on another device, from the same seed, and compares the mean loss of
// every epoch and of every step: they may differ by rounding only, which training carries on. Exit code
// 1 when two losses differ by more than 1e-4. The data is a folder as real-data.mjs takes it, the
// recipe that of LFW.
//
//   node bench/device-agreement.mjs --data DIR [--device cuda-emulated] [--epochs 3] [--seed 0]
//                                   [--recipe='FLAGS of alphamargin train'] [--json FILE]
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { parseTrainArguments } from '../dist/cli/train-options.js';
import { train } from '../dist/cli/training.js';
import { readTrainingData } from '../dist/cli/training-data.js';
import { TrainingState } from '../dist/cli/training-state.js';
import { openEmbeddings } from '../dist/data/index.js';
import { environment } from './environment.mjs';
import { LOSSES, RECIPES } from './recipes.mjs';

const BOUND = 1e-4;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    device: { type: 'string', default: 'cuda-emulated' },
    epochs: { type: 'string', default: '3' },
    seed: { type: 'string', default: '0' },
    recipe: { type: 'string', default: RECIPES.lfw },
    json: { type: 'string' },
  },
});
if (options.data === undefined) {
  console.error('usage: node bench/device-agreement.mjs --data DIR');
  process.exit(2);
}

/** What to train, as the command line reads it; a flag that comes again overrides the first. */
function parse(flags) {
  const given = [...options.recipe.split(' '), ...flags.split(' ')];
  given.push('--epochs', options.epochs, '--seed', options.seed);
  // The class means are computed on the device too: as soon as a run of few epochs can.
  if (given.includes('--reinitialize-at')) given.push('--reinitialize-at', '1');
  return parseTrainArguments([
    ...['--embeddings', path.join(options.data, 'features.npy')],
    ...['--labels', path.join(options.data, 'identities.npy')],
    ...['--split', path.join(options.data, 'split.npy')],
    ...['--out', 'nothing is written'],
    ...given,
  ]);
}

/** Losses of a run by epoch and by step, and where it ends. */
async function trainOn(device, data, recipe) {
  const state = TrainingState.start(data, recipe, device);
  const steps = [];
  const started = performance.now();
  try {
    await train(state, data, recipe, {
      onStep: ({ loss }) => steps.push(loss),
    });
    const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
    const epochs = state.history.map(({ loss }) => loss);
    const prototypes = (await state.head.prototypes()).data;
    return { device: state.head.device, epochs, steps, prototypes, seconds };
  } finally {
    state.dispose();
  }
}

function largestDifference(one, other) {
  let largest = one.length === other.length ? 0 : Number.NaN;
  for (const [index, value] of one.entries()) {
    largest = Math.max(largest, Math.abs(value - other[index]));
  }
  return largest;
}

const files = parse('--loss entmax');
const dataset = await openEmbeddings(files.embeddings);
const data = await readTrainingData(dataset, files);
const rows = [];
const names = ['cpu', options.device];
console.log(
  '| loss | device | loss of each epoch | largest difference: epoch, step, prototype |\n' +
    '|---|---|---|---|',
);
for (const [loss, flags] of Object.entries(LOSSES)) {
  const { recipe } = parse(flags);
  const runs = [];
  for (const name of names) runs.push(await trainOn(name, data, recipe));
  const differences = Object.fromEntries(
    ['epochs', 'steps', 'prototypes'].map((part) => [
      part,
      largestDifference(runs[0][part], runs[1][part]),
    ]),
  );
  for (const { device, epochs } of runs) {
    const curve = epochs.map((value) => value.toFixed(7)).join(' ');
    const shown = Object.values(differences).map((x) => x.toExponential(1));
    console.log(`| ${loss} | ${device} | ${curve} | ${shown.join(', ')} |`);
  }
  rows.push({
    loss,
    recipe,
    differences,
    steps: runs[0].steps.length,
    runs: runs.map(({ device, epochs, seconds }) => ({
      device,
      epochs,
      seconds,
    })),
  });
}

const largest = Math.max(
  ...rows.flatMap(({ differences }) => [differences.epochs, differences.steps]),
);
console.log(`largest difference of a loss: ${largest}, bound ${BOUND}`);
if (options.json !== undefined) {
  const result = {
    ...environment(),
    data: path.basename(options.data),
    rows: data.rows.length,
    identities: data.identities.length,
    dim: data.dim,
    seed: Number(options.seed),
    bound: BOUND,
    largest,
    losses: rows,
  };
  writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
}
// NaN is no agreement either.
process.exitCode = largest <= BOUND ? 0 : 1;
