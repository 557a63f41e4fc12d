import { RandomStream } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { Projection } from './projection.js';
import { gatherRows, type TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';

/** Purposes of random streams. */
const SHUFFLE_STREAM = 1;
const NOISE_STREAM = 2;

/** Rows per batch of a re-initialisation pass. */
const MEANS_BATCH = 1024;

/** Steps of one epoch. */
export function stepsPerEpoch(data: TrainingData, batch: number): number {
  return Math.ceil(data.rows.length / batch);
}

/** The batches of a run, each computable from its step alone. */
export class Batches {
  readonly #data: TrainingData;
  readonly #recipe: TrainingRecipe;
  readonly #perEpoch: number;
  #epoch = -1;
  #order = new Int32Array(0);

  constructor(data: TrainingData, recipe: TrainingRecipe, perEpoch: number) {
    this.#data = data;
    this.#recipe = recipe;
    this.#perEpoch = perEpoch;
  }

  /** Features with noise, classes, and rows of the file, of a step. */
  at(step: number) {
    const { rows, classes } = this.#data;
    const { batch, noise, seed } = this.#recipe;
    const epoch = Math.floor(step / this.#perEpoch);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#order = Int32Array.from(rows.keys());
      new RandomStream(seed, SHUFFLE_STREAM, epoch).shuffle(this.#order);
    }
    const first = (step % this.#perEpoch) * batch;
    const chosen = this.#order.subarray(first, first + batch);
    const inFile = chosen.map((index) => rows[index]!);
    const features = gatherRows(this.#data, inFile);
    if (noise > 0) {
      new RandomStream(seed, NOISE_STREAM, step).addGaussian(features, noise);
    }
    const labels = chosen.map((index) => classes[index]!);
    return { features, classes: labels, inFile };
  }
}

/** The training set once, in order, without noise: for class means. */
export async function* cleanBatches(
  projection: Projection | null,
  data: TrainingData,
) {
  for (let first = 0; first < data.rows.length; first += MEANS_BATCH) {
    const rows = data.rows.subarray(first, first + MEANS_BATCH);
    const features = gatherRows(data, rows);
    const inputs = projection?.apply(features, rows.length) ?? features;
    const labels = data.classes.slice(first, first + MEANS_BATCH);
    yield { embeddings: asTensor(inputs, rows.length), labels };
  }
}

/** Rows as the head takes them: a view, not a copy. */
export function asTensor(data: Float32Array, rows: number): Tensor {
  return { type: 'float32', data, dims: [rows, data.length / rows] };
}
