import type { LossSpecification } from '../loss-specification.js';
import type { OptimizerSpecification } from '../optimizer.js';
import { type TrainingPosition, warmup } from '../schedules.js';
import { scaleMargin } from './loss-options.js';
import type { ProjectionStart } from './projection.js';
import type { Sampler } from './sampling.js';
import { parseLearningRateSchedule, parseMarginRamp } from './schedules.js';

/** How to train: plain data, kept in the checkpoint. The result follows from it and the data. */
export interface TrainingRecipe {
  /** With its final margin. */
  readonly loss: LossSpecification;
  /** Prototypes of each identity. */
  readonly subCentres: number;
  /** Exponent of the class counts in the reference measure; null for a measure of 1. */
  readonly logitAdjustment: number | null;
  /** With its initial learning rate. */
  readonly optimizer: OptimizerSpecification;
  readonly epochs: number;
  /** Rows per step; the last step of an epoch takes what is left. */
  readonly batch: number;
  readonly sampler: Sampler;
  readonly seed: number;
  /** Standard deviation of the Gaussian noise added to the features in every step. */
  readonly noise: number;
  /** See {@link parseLearningRateSchedule}. */
  readonly learningRateSchedule: string;
  /** Epochs of linear rise of the learning rate. */
  readonly warmup: number;
  /** See {@link parseMarginRamp}; null for a constant margin. */
  readonly marginRamp: string | null;
  /** Number of epochs after which the prototypes become class means; null for never. */
  readonly reinitializeAt: number | null;
  /** The linear map trained in front of the head; null for none. */
  readonly projection: {
    readonly dim: number;
    readonly start: ProjectionStart;
    readonly learningRate: number;
    readonly momentum: number;
  } | null;
}

/** Learning-rate factor and loss for each step. */
export function schedulesOf(recipe: TrainingRecipe, perEpoch: number) {
  const decay = parseLearningRateSchedule(recipe.learningRateSchedule);
  const rise = warmup({ epochs: recipe.warmup });
  const ramp =
    recipe.marginRamp === null ? () => 1 : parseMarginRamp(recipe.marginRamp);
  return (step: number) => {
    const position: TrainingPosition = {
      step,
      stepsPerEpoch: perEpoch,
      epochs: recipe.epochs,
    };
    return {
      rate: decay(position) * rise(position),
      loss: scaleMargin(recipe.loss, ramp(position)),
    };
  };
}
