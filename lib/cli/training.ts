import { AlphaMarginError } from '../errors.js';
import { findUnusable } from './input-checks.js';
import { marginOf } from './loss-options.js';
import { trainingPlan } from './sampling.js';
import { asTensor, cleanBatches, trainingBatches } from './training-batches.js';
import type { TrainingData } from './training-data.js';
import { schedulesOf, type TrainingRecipe } from './training-recipe.js';
import type { EpochRecord, TrainingState } from './training-state.js';

/** One step, for a progress display. */
export interface StepReport {
  /** Steps done, this one included, and of the whole run. */
  readonly step: number;
  readonly steps: number;
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Mean loss of the batch. */
  readonly loss: number;
  /** Mean support size of the batch. */
  readonly supportSize: number;
  /** Share of rows whose target is outside the support. */
  readonly inactiveShare: number;
  /** Rows of the batch. */
  readonly rows: number;
}

/** Who watches a run. */
export interface TrainingObserver {
  onStep?(report: StepReport): void;
  /** Called after the last step of an epoch; the run waits for it. */
  onEpoch?(record: EpochRecord): void | Promise<void>;
  /** Asked after every step; the run ends early, in order, when it answers true. */
  shouldStop?(): boolean;
}

/**
 * Trains from where `state` stands to the end of the recipe, or until the observer stops it.
 *
 * Every random number follows from (seed, purpose, epoch or step), so stopping, saving, loading
 * and going on gives the same bits as never having stopped.
 *
 * @returns Whether the recipe was completed.
 */
export async function train(
  state: TrainingState,
  data: TrainingData,
  recipe: TrainingRecipe,
  observer: TrainingObserver = {},
): Promise<boolean> {
  const plan = trainingPlan(data, recipe);
  const perEpoch = plan.stepsPerEpoch;
  const steps = recipe.epochs * perEpoch;
  const batches = trainingBatches(data, recipe, plan, state.step);
  const scheduleAt = schedulesOf(recipe, perEpoch);
  let started = performance.now();
  let upcoming = batches.next();
  try {
    while (state.step < steps) {
      const { step, head, projection } = state;
      const epoch = Math.floor(step / perEpoch);
      if (step === epoch * perEpoch && epoch === recipe.reinitializeAt) {
        await head.reinitialize(cleanBatches(projection, data));
      }
      const { rate, loss } = scheduleAt(step);
      head.learningRate = rate * recipe.optimizer.learningRate;
      head.loss = loss;
      const { features, classes, inFile } = (await upcoming).value!;
      const rows = classes.length;
      const inputs = projection?.apply(features, rows) ?? features;
      const running = head.step(asTensor(inputs, rows), classes);
      // The next batch is made on this thread while the step runs on others.
      upcoming = batches.next();
      // What it could not read is reported when its turn comes.
      upcoming.catch(() => {});
      const result = await running.catch((cause: unknown) => {
        throw explain(cause, { features, inputs, inFile }, step, epoch, recipe);
      });
      if (!Number.isFinite(result.loss)) {
        throw new AlphaMarginError(
          'ERR_NON_FINITE',
          `the loss became ${result.loss} in step ${step + 1} (epoch ${epoch + 1}): ` +
            'try a smaller --lr',
        );
      }
      if (projection && recipe.projection) {
        projection.update(features, result.gradEmbeddings.data, rows, {
          learningRate: rate * recipe.projection.learningRate,
          momentum: recipe.projection.momentum,
          weightDecay: recipe.optimizer.weightDecay,
        });
      }
      state.step = step + 1;
      const sums = state.sums;
      const support = sum(result.supportSize);
      const active = sum(result.targetActive);
      sums.rows += rows;
      sums.loss += sum(result.losses);
      sums.support += support;
      sums.inactive += rows - active;
      sums.zeroLoss += result.stats.zeroLossRows;
      observer.onStep?.({
        step: state.step,
        steps,
        epoch: epoch + 1,
        loss: result.loss,
        supportSize: support / rows,
        inactiveShare: 1 - active / rows,
        rows,
      });
      if (state.step === (epoch + 1) * perEpoch) {
        const record = state.finishEpoch({
          learningRate: head.learningRate,
          margin: marginOf(loss),
          seconds: (performance.now() - started) / 1000,
        });
        await observer.onEpoch?.(record);
        started = performance.now();
      }
      if (observer.shouldStop?.()) break;
    }
    return state.step >= steps;
  } finally {
    // Reading ahead ends before the caller may close the files.
    await batches.return(undefined);
  }
}

/** What a step was given. */
interface StepInputs {
  /** [B, D], with noise; before the projection. */
  readonly features: Float32Array;
  /** [B, D of the head]. */
  readonly inputs: Float32Array;
  /** Rows of the set [B]. */
  readonly inFile: Int32Array;
}

/** Says what a failed step means for the run: its batch is nothing the reader knows. */
function explain(
  cause: unknown,
  { features, inputs, inFile }: StepInputs,
  step: number,
  epoch: number,
  { noise }: TrainingRecipe,
): unknown {
  if (!(cause instanceof AlphaMarginError)) return cause;
  const when = `step ${step + 1} (epoch ${epoch + 1})`;
  const fail = (problem: string) =>
    new AlphaMarginError(cause.code, `${when}: ${problem}`, { cause });
  // The rows of the files were checked before the first step.
  const noisy = findUnusable(features, features.length / inFile.length);
  if (noisy !== undefined && noise > 0) {
    return fail(
      `row ${inFile[noisy.row]} of the embeddings has no direction (norm ${noisy.norm}) ` +
        'with the noise added: try a smaller --noise',
    );
  }
  const found = findUnusable(inputs, inputs.length / inFile.length);
  if (found === undefined) return cause;
  return fail(
    found.norm < 1
      ? `row ${inFile[found.row]} of the embeddings has norm ${found.norm} after the ` +
          'projection: try --project-init random'
      : 'the projected embeddings grew beyond all bounds: try a smaller --lr or --project-lr',
  );
}

function sum(values: Float32Array | Int32Array | Uint8Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
