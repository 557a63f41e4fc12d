import type { BatchPlan } from '../data/batch-plan.js';
import { classBalanced } from '../data/class-balanced.js';
import { identitySamples } from '../data/identity-samples.js';
import { shuffled } from '../data/shuffled.js';
import { AlphaMarginError } from '../errors.js';
import { RandomStream } from '../random.js';
import type { TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';
import { type OptionReader, UsageError } from './usage.js';

/** Names of the samplers on the command line. */
export const SAMPLER_NAMES = [
  'shuffled',
  'class-balanced',
  'identity-samples',
] as const;

/** Every row once in an epoch. */
interface ShuffledSampler {
  readonly name: 'shuffled';
  /** Neighbouring rows that are read together. */
  readonly blockRows: number;
  /** Rows that are held and mixed at a time; null for {@link BUFFER_BYTES} of them. */
  readonly bufferRows: number | null;
}

/** Which rows a step takes: plain data, part of the recipe. */
export type Sampler =
  | ShuffledSampler
  | { readonly name: 'class-balanced'; readonly power: number }
  | { readonly name: 'identity-samples'; readonly samples: number };

/** The sampler when none is asked for. */
export const SHUFFLED: ShuffledSampler = {
  name: 'shuffled',
  blockRows: 64,
  bufferRows: null,
};

/** Size of a buffer of `shuffled`; two of them are held. */
const BUFFER_BYTES = 2 ** 25;

/** Most rows of a buffer: the place of each is held while it is read. */
const MOST_BUFFER_ROWS = 2 ** 16;

/** Purpose of the random stream that orders an epoch held as a whole. */
const SHUFFLE_STREAM = 1;

/** Options that belong to one sampler each. */
const OWN_OPTIONS = {
  'block-rows': 'shuffled',
  'buffer-rows': 'shuffled',
  'class-power': 'class-balanced',
  samples: 'identity-samples',
} as const;

/** Reads `--sampler` and the options of the one it names. */
export function parseSampler(read: OptionReader, batch: number): Sampler {
  const name = read.choice('sampler', SAMPLER_NAMES, 'shuffled');
  for (const [option, owner] of Object.entries(OWN_OPTIONS)) {
    if (read.text(option) !== undefined && owner !== name) {
      throw new UsageError(
        `--${option} belongs to --sampler ${owner}, not to ${name}`,
      );
    }
  }
  if (name === 'shuffled') {
    const blockRows = read.integer('block-rows', 1) ?? SHUFFLED.blockRows;
    return {
      name,
      blockRows,
      bufferRows: read.integer('buffer-rows', 1) ?? null,
    };
  }
  if (name === 'class-balanced') {
    const inUnit = (value: number) => value >= 0 && value <= 1;
    const power = read.number('class-power', 'a number in [0, 1]', inUnit);
    return { name, power: power ?? 0 };
  }
  const samples = read.integer('samples', 1) ?? 4;
  if (batch % samples !== 0) {
    throw new UsageError(
      `--batch must be a multiple of --samples ${samples}, not ${batch}`,
    );
  }
  return { name, samples };
}

/** Rows that are held and mixed at a time by the sampler `shuffled`. */
export function bufferRowsOf(
  { bufferRows }: ShuffledSampler,
  dim: number,
): number {
  const fitting = Math.max(1, Math.floor(BUFFER_BYTES / (4 * dim)));
  return bufferRows ?? Math.min(MOST_BUFFER_ROWS, fitting);
}

/** The rows of each step of a run. */
export function trainingPlan(
  { source, rows, classes, identities }: TrainingData,
  { sampler, batch, seed }: TrainingRecipe,
): BatchPlan {
  if (sampler.name === 'shuffled') {
    const bufferRows = bufferRowsOf(sampler, source.dim);
    return rows.length <= bufferRows
      ? wholeEpochs(rows, batch, seed)
      : shuffled({
          ...{ rows, batch, seed, bufferRows },
          blockRows: sampler.blockRows,
        });
  }
  if (sampler.name === 'class-balanced') {
    return classBalanced({
      labels: classes,
      batch,
      seed,
      power: sampler.power,
    });
  }
  const { samples } = sampler;
  const inStep = batch / samples;
  if (inStep > identities.length) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `--sampler identity-samples with --batch ${batch} and --samples ${samples} takes ` +
        `${inStep} identities in a step, but there are ${identities.length}: ` +
        'use a smaller --batch or more --samples',
    );
  }
  return identitySamples({
    labels: classes,
    identities: inStep,
    samples,
    seed,
  });
}

/** Every row once in an epoch, which is mixed as a whole. */
function wholeEpochs(rows: Int32Array, batch: number, seed: number): BatchPlan {
  const stepsPerEpoch = Math.ceil(rows.length / batch);
  let mixed = { epoch: -1, order: new Int32Array(0) };
  return {
    stepsPerEpoch,
    readAhead: stepsPerEpoch,
    rowsOf(step) {
      const epoch = Math.floor(step / stepsPerEpoch);
      if (epoch !== mixed.epoch) {
        mixed = { epoch, order: rows.slice() };
        new RandomStream(seed, SHUFFLE_STREAM, epoch).shuffle(mixed.order);
      }
      const first = (step % stepsPerEpoch) * batch;
      return mixed.order.subarray(first, first + batch);
    },
  };
}
