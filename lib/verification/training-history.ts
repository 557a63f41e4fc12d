import { invalidArgument } from '../errors.js';
import {
  type CheckedPlotOptions,
  type PlotAxis,
  renderCurves,
} from './curve-plot.js';
import { logarithmicTicks, niceTicks } from './nice-ticks.js';
import type { Point } from './thin-curve.js';

/** One epoch of a training: means over its rows. */
export interface TrainingEpoch {
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Mean loss. */
  readonly loss: number;
  /** Mean number of identities with a posterior above zero, at least 1. */
  readonly supportSize: number;
}

/** How one of the systems of a report was trained. */
export interface SystemTraining {
  readonly name: string;
  /** Place of the system in the report, which decides its colour and dashes. */
  readonly place: number;
  readonly epochs: readonly TrainingEpoch[];
}

/** Checks a history that a caller passed; what is not shown may be there too. */
export function readTrainingEpochs(
  functionName: string,
  argument: string,
  value: unknown,
): TrainingEpoch[] {
  // Not `every`, which passes over holes.
  if (
    !Array.isArray(value) ||
    value.findIndex((epoch) => !isEpoch(epoch)) !== -1
  ) {
    throw invalidArgument(
      functionName,
      argument,
      'an array of { epoch, loss, supportSize }, finite numbers with epoch and supportSize > 0',
      value,
    );
  }
  return value.map(({ epoch, loss, supportSize }) => ({
    epoch,
    loss,
    supportSize,
  }));
}

function isEpoch(value: unknown): value is TrainingEpoch {
  const { epoch, loss, supportSize } = Object(value);
  return (
    [epoch, loss, supportSize].every(Number.isFinite) &&
    epoch > 0 &&
    supportSize > 0
  );
}

/** Loss over the epochs; linear, from 0. */
export function lossPlot(
  trainings: readonly SystemTraining[],
  options: CheckedPlotOptions,
): Promise<string> {
  const losses = valuesOf(trainings, ({ loss }) => loss);
  const low = Math.min(0, ...losses);
  const high = Math.max(...losses, low + 1e-6) * 1.05;
  const axis = { title: 'Mean loss', ticks: niceTicks(low, high, 5) };
  return historyPlot(trainings, ({ loss }) => loss, axis, [low, high], options);
}

/** Support size over the epochs; logarithmic, as it falls by orders of magnitude. */
export function supportPlot(
  trainings: readonly SystemTraining[],
  options: CheckedPlotOptions,
): Promise<string> {
  const sizes = valuesOf(trainings, ({ supportSize }) => supportSize);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const middle = Math.sqrt(least * most);
  // A factor of five between the ends always holds two labels.
  const half = Math.max(1.1 * Math.sqrt(most / least), Math.sqrt(5));
  const [low, high] = [middle / half, middle * half];
  const ticks = logarithmicTicks(low, high).map((tick) => ({
    at: Math.log10(tick),
    label: tick.toLocaleString('en'),
  }));
  return historyPlot(
    trainings,
    ({ supportSize }) => Math.log10(supportSize),
    { title: 'Mean support size (identities)', ticks },
    [Math.log10(low), Math.log10(high)],
    options,
  );
}

function valuesOf(
  trainings: readonly SystemTraining[],
  read: (epoch: TrainingEpoch) => number,
): number[] {
  return trainings.flatMap(({ epochs }) => epochs.map(read));
}

function historyPlot(
  trainings: readonly SystemTraining[],
  read: (epoch: TrainingEpoch) => number,
  y: PlotAxis,
  range: Point,
  options: CheckedPlotOptions,
): Promise<string> {
  const numbers = valuesOf(trainings, ({ epoch }) => epoch);
  const last = Math.max(...numbers);
  const first = Math.min(...numbers, last - 1);
  const ticks = niceTicks(first, last, 6, { least: 1 });
  const curves = trainings.map(({ name, place, epochs }) => {
    const points = epochs.map((epoch): Point => [epoch.epoch, read(epoch)]);
    const [only] = points;
    // One epoch is a dot: a line needs two.
    return { name, place, points, ...(points.length === 1 && { mark: only! }) };
  });
  const window = { x: [first, last], y: range } as const;
  return renderCurves(
    { window, x: { title: 'Epoch', ticks }, y, curves },
    options,
  );
}
