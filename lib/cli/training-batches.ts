import type { BatchPlan } from '../data/batch-plan.js';
import { embeddingBatches } from '../data/embedding-batches.js';
import { RandomStream } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { Projection } from './projection.js';
import { inOrder, type TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';

/** Purpose of the random stream of the noise. */
const NOISE_STREAM = 2;

/** What a step works on. */
export interface TrainingBatch {
  /** [B, D], with noise. */
  readonly features: Float32Array;
  /** Class of each row. */
  readonly classes: Int32Array;
  /** Rows of the set. */
  readonly inFile: Int32Array;
}

/** The batches of a run from a step on. Each one follows from its step alone. */
export async function* trainingBatches(
  { source, classes }: TrainingData,
  { noise, seed, epochs }: TrainingRecipe,
  plan: BatchPlan,
  from: number,
): AsyncGenerator<TrainingBatch, undefined> {
  const batches = embeddingBatches(source, classes, plan, { from, epochs });
  for await (const { step, rows, embeddings, labels } of batches) {
    const features = embeddings.data as Float32Array;
    if (noise > 0) {
      new RandomStream(seed, NOISE_STREAM, step).addGaussian(features, noise);
    }
    yield { features, classes: labels, inFile: rows };
  }
}

/** The training set once, in order, without noise: for class means. */
export async function* cleanBatches(
  projection: Projection | null,
  data: TrainingData,
) {
  for await (const { embeddings, labels } of inOrder(data)) {
    const features = embeddings.data as Float32Array;
    const inputs = projection?.apply(features, labels.length) ?? features;
    yield { embeddings: asTensor(inputs, labels.length), labels };
  }
}

/** Rows as the head takes them: a view, not a copy. */
export function asTensor(data: Float32Array, rows: number): Tensor {
  return { type: 'float32', data, dims: [rows, data.length / rows] };
}
