import { parseArgs } from 'node:util';
import { checkWritable, writeTextAtomically } from '../io/atomic-file.js';
import type { LossSpecification } from '../loss-specification.js';
import {
  a3m,
  arcFace,
  cosFace,
  entmaxHead,
  qMargin,
} from '../loss-specification.js';
import { sgd } from '../optimizer.js';
import { setThreadCount } from '../thread-count.js';
import { scoreTrials } from '../verification/score-trials.js';
import { summarize } from '../verification/summarize.js';
import {
  type ReportSystem,
  verificationReport,
} from '../verification/verification-report.js';
import { checkOutputs, filesOf } from './output-checks.js';
import { SHUFFLED } from './sampling.js';
import {
  type SyntheticSet,
  syntheticIdentities,
} from './synthetic-identities.js';
import { train } from './training.js';
import type { TrainingData } from './training-data.js';
import { trainingProgress } from './training-progress.js';
import type { TrainingRecipe } from './training-recipe.js';
import { TrainingState } from './training-state.js';
import { OptionReader, readThreads } from './usage.js';
import { verificationTable } from './verification-table.js';

/** Text of `alphamargin demo --help`. */
export const help = `Usage: alphamargin demo [--seed N] [--report FILE] [--threads N]

Makes identities, trains a projection with each loss by the same recipe, compares them on
identities that none of them has seen, prints a table and writes a report.

  --seed N       of the identities and the training          (0)
  --report FILE  report to write     (alphamargin-report.html)
  --threads N    threads of the CPU backend`;

/** Rates that the made set is large enough to measure. */
const RATES = [1e-1, 1e-2, 1e-3, 1e-4];

const TRAINING_IDENTITIES = 500;
const TEST_IDENTITIES = 200;
const SAMPLES_PER_IDENTITY = 10;
const FEATURES = 128;
const EMBEDDING = 64;
const EPOCHS = 20;

/** The losses, each at one scale and margin; A3M with re-initialised prototypes. */
const LOSSES: readonly {
  name: string;
  loss: LossSpecification;
  reinitializeAt?: number;
}[] = [
  { name: 'CosFace', loss: cosFace({ scale: 32, margin: 0.2 }) },
  { name: 'ArcFace', loss: arcFace({ scale: 32, margin: 0.2 }) },
  { name: 'EntMax', loss: entmaxHead({ alpha: 1.25, scale: 32 }) },
  {
    name: 'Q-Margin',
    loss: qMargin({ alpha: 1.25, scale: 32, margin: 0.2 }),
  },
  {
    name: 'A3M, re-initialised',
    loss: a3m({ alpha: 1.25, scale: 32, margin: 0.2 }),
    reinitializeAt: EPOCHS / 2,
  },
];

/** Runs `alphamargin demo`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const text = { type: 'string' } as const;
  const options = { seed: text, report: text, threads: text };
  const { values } = parseArgs({ args, options, strict: true });
  const read = new OptionReader(values);
  const seed = read.integer('seed', 0) ?? 0;
  const report = read.text('report') ?? 'alphamargin-report.html';
  const threads = readThreads(read);
  await checkOutputs(filesOf({ report }), []);
  await checkWritable(report);
  if (threads !== undefined) setThreadCount(threads);

  const started = performance.now();
  const sizes = {
    samplesPerIdentity: SAMPLES_PER_IDENTITY,
    dim: FEATURES,
    seed,
  };
  const training = syntheticIdentities(
    { ...sizes, identities: TRAINING_IDENTITIES },
    0,
  );
  const test = syntheticIdentities(
    { ...sizes, identities: TEST_IDENTITIES },
    TRAINING_IDENTITIES,
  );
  const systems: ReportSystem[] = [
    { name: 'raw features', scores: await score(test, null) },
  ];
  for (const { name, loss, reinitializeAt = null } of LOSSES) {
    const state = await trainOne(training, name, {
      ...recipe(loss, seed),
      reinitializeAt,
    });
    const scores = await score(test, state);
    systems.push({ name, scores, training: state.history });
    state.dispose();
  }
  const summaries = systems.map(({ name, scores }) => ({
    name,
    summary: summarize(scores),
  }));
  console.log(verificationTable(summaries, RATES));
  const html = await verificationReport({
    title: 'Losses compared on identities made by the demo',
    systems,
    details: {
      'training identities': TRAINING_IDENTITIES,
      'test identities': TEST_IDENTITIES,
      'samples per identity': SAMPLES_PER_IDENTITY,
      seed,
    },
  });
  await writeTextAtomically(report, html);
  const seconds = (performance.now() - started) / 1000;
  console.log(`\n${report} written; ${seconds.toFixed(0)} s in all`);
  return 0;
}

/** The same for every loss, so that only the loss differs. */
function recipe(loss: LossSpecification, seed: number): TrainingRecipe {
  const learningRate = 0.1;
  const momentum = 0.9;
  return {
    loss,
    subCentres: 1,
    logitAdjustment: null,
    optimizer: sgd({ learningRate, momentum, weightDecay: 5e-4 }),
    epochs: EPOCHS,
    batch: 128,
    sampler: SHUFFLED,
    seed,
    noise: 0.1,
    learningRateSchedule: 'linear',
    warmup: 1,
    marginRamp: null,
    reinitializeAt: null,
    projection: { dim: EMBEDDING, start: 'random', learningRate, momentum },
  };
}

async function trainOne(
  data: TrainingData,
  name: string,
  recipe: TrainingRecipe,
): Promise<TrainingState> {
  const progress = trainingProgress(recipe.epochs);
  progress.note(`${name}:`);
  const state = TrainingState.start(data, recipe, 'auto');
  try {
    await train(state, data, recipe, progress);
    return state;
  } catch (cause) {
    state.dispose();
    throw cause;
  } finally {
    progress.close();
  }
}

/** Scores all pairs of the test samples, as they are or projected. */
async function score(test: SyntheticSet, state: TrainingState | null) {
  const rows = test.rows.length;
  const { features } = test;
  const data = (await state?.projection?.applyAll(features, rows)) ?? features;
  return scoreTrials(
    { data, dims: [rows, data.length / rows] },
    { labels: test.labels },
  );
}
