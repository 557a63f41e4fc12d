import type { Device } from '../device.js';
import { AlphaMarginError } from '../errors.js';
import { PrototypeHead } from '../prototype-head.js';
import { referenceFromCounts } from '../reference-from-counts.js';
import type { Tensor } from '../tensor.js';
import { Projection } from './projection.js';
import type { TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';

/** What one epoch was like: means over its rows. */
export interface EpochRecord {
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Of its last step. */
  readonly learningRate: number;
  /** Of its last step. */
  readonly margin: number;
  readonly loss: number;
  readonly supportSize: number;
  /** Share of rows whose target was outside the support. */
  readonly inactiveShare: number;
  /** Share of rows whose loss was exactly 0. */
  readonly zeroLossShare: number;
  /** Time since the last epoch or the last start. */
  readonly seconds: number;
}

/** Sums over the epoch that is running. */
export interface EpochSums {
  rows: number;
  loss: number;
  support: number;
  inactive: number;
  zeroLoss: number;
}

const NO_SUMS: EpochSums = {
  rows: 0,
  loss: 0,
  support: 0,
  inactive: 0,
  zeroLoss: 0,
};

/** The checkpoint that a run started from. */
export interface TakenFrom {
  readonly path: string;
  /** Whether its projection was taken, was left, or there was none. */
  readonly projection: 'taken' | 'left' | 'none';
}

/** Everything a run changes: head, projection, position, history. */
export class TrainingState {
  readonly head: PrototypeHead;
  readonly projection: Projection | null;
  /** What its prototypes started from; null for random ones. */
  readonly from: TakenFrom | null;
  /** Steps done. */
  step = 0;
  /** Of the running epoch. */
  sums: EpochSums = { ...NO_SUMS };
  readonly history: EpochRecord[] = [];

  constructor(
    head: PrototypeHead,
    projection: Projection | null,
    from: TakenFrom | null = null,
  ) {
    this.head = head;
    this.projection = projection;
    this.from = from;
  }

  /** The state before the first step. */
  static start(
    data: TrainingData,
    recipe: TrainingRecipe,
    device: Device,
  ): TrainingState {
    const { seed, loss, optimizer, subCentres } = recipe;
    const projection =
      recipe.projection &&
      Projection.start(
        data.source.dim,
        recipe.projection.dim,
        recipe.projection.start,
        seed,
      );
    const head = new PrototypeHead({
      identities: data.identities.length,
      dim: projection?.outputs ?? data.source.dim,
      loss,
      optimizer,
      device,
      seed,
      subCentres,
      reference: referenceOf(data, recipe),
    });
    return new TrainingState(head, projection);
  }

  /** Closes an epoch: its record goes to the history, the sums start again. */
  finishEpoch(
    last: Pick<EpochRecord, 'learningRate' | 'margin' | 'seconds'>,
  ): EpochRecord {
    const { rows, loss, support, inactive, zeroLoss } = this.sums;
    const record: EpochRecord = {
      epoch: this.history.length + 1,
      learningRate: last.learningRate,
      margin: last.margin,
      loss: loss / rows,
      supportSize: support / rows,
      inactiveShare: inactive / rows,
      zeroLossShare: zeroLoss / rows,
      seconds: last.seconds,
    };
    this.history.push(record);
    this.sums = { ...NO_SUMS };
    return record;
  }

  /** Frees the head's native memory. */
  dispose(): void {
    this.head.dispose();
  }
}

/** The reference measure that a recipe asks for, from the rows of each class; null for 1. */
function referenceOf(
  { rows, classes, identities }: TrainingData,
  { logitAdjustment, loss: { alpha } }: TrainingRecipe,
): Tensor | null {
  if (logitAdjustment === null) return null;
  const counts = new Int32Array(identities.length);
  for (const row of rows) counts[classes[row]!]! += 1;
  try {
    return referenceFromCounts(counts, { alpha, exponent: logitAdjustment });
  } catch (cause) {
    // The counts are good, so it is the exponent: for these counts a measure leaves float32.
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `--logit-adjustment ${logitAdjustment} is too large for identities of ` +
        `${counts.reduce((a, b) => Math.min(a, b))} to ${counts.reduce((a, b) => Math.max(a, b))} ` +
        'rows: a measure would leave float32',
      { cause },
    );
  }
}
