/*
 * Factors over a training run, for learning rates and margins. A schedule is a function of where the
 * run stands, so several are combined by multiplication.
 */
import { invalidArgument } from './errors.js';
import { checkNumber } from './number-checks.js';
import { readOptions } from './options.js';

/** Where a training run stands. */
export interface TrainingPosition {
  /** Steps done since the start of training. */
  readonly step: number;
  /** Steps of an epoch, > 0. */
  readonly stepsPerEpoch: number;
  /** Epochs of the whole run, > 0. */
  readonly epochs: number;
}

/** A factor in [0, 1] for each position of a run. */
export type Schedule = (position: TrainingPosition) => number;

/** Final learning rate over the initial one (WeSpeaker: 5e-5 / 0.1). */
const EXPONENTIAL_RATIO = 5e-4;

/** The margin ramp ends at this distance from its final value (WeSpeaker), then jumps to it. */
const RAMP_REMAINDER = 1e-3;

const positive = (value: number) => value > 0;
const atLeastZero = (value: number) => value >= 0;

/** e: epochs done, with fractions. */
function epochsDone(position: TrainingPosition): number {
  const { step, stepsPerEpoch } = position ?? {};
  const name = 'schedule';
  checkNumber(name, 'step', step, 'a number >= 0', atLeastZero);
  checkNumber(name, 'stepsPerEpoch', stepsPerEpoch, 'a number > 0', positive);
  return step / stepsPerEpoch;
}

/** p: the share of the run that is done, at most 1. */
function progress(position: TrainingPosition): number {
  const done = epochsDone(position);
  checkNumber('schedule', 'epochs', position.epochs, 'a number > 0', positive);
  return Math.min(1, done / position.epochs);
}

/** 1 − p, with p the share of the run that is done. */
export function linearDecay(): Schedule {
  return (position) => 1 - progress(position);
}

/**
 * (1 − p)^power, with p the share of the run that is done.
 *
 * @param options `power`, > 0.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 */
export function polynomialDecay(options: { power: number }): Schedule {
  const name = 'polynomialDecay';
  const { power } = readOptions<typeof options>(name, options, ['power']);
  const exponent = checkNumber(name, 'power', power, 'a number > 0', positive);
  return (position) => (1 - progress(position)) ** exponent;
}

/** ½·(1 + cos πp), with p the share of the run that is done. */
export function cosineDecay(): Schedule {
  return (position) => (1 + Math.cos(Math.PI * progress(position))) / 2;
}

/**
 * ratio^p, with p the share of the run that is done.
 *
 * @param options `ratio` in (0, 1]: the factor at the end. Default 5e-4 (WeSpeaker).
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 */
export function exponentialDecay(options: { ratio?: number } = {}): Schedule {
  const name = 'exponentialDecay';
  const { ratio = EXPONENTIAL_RATIO } = readOptions<typeof options>(
    name,
    options,
    ['ratio'],
  );
  checkShare(name, 'ratio', ratio);
  return (position) => ratio ** progress(position);
}

/**
 * `factor` for each of the epochs that is reached.
 *
 * @param options `epochs`, each ≥ 0; `factor` in (0, 1], default 0.1.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 */
export function stepDecay(options: {
  epochs: readonly number[];
  factor?: number | undefined;
}): Schedule {
  const name = 'stepDecay';
  const given = readOptions<typeof options>(name, options, [
    'epochs',
    'factor',
  ]);
  const { factor = 0.1 } = given;
  checkShare(name, 'factor', factor);
  if (!Array.isArray(given.epochs)) {
    throw invalidArgument(name, 'epochs', 'an array of numbers', given.epochs);
  }
  const epochs = given.epochs.map((epoch, i) =>
    checkNumber(name, `epochs[${i}]`, epoch, 'a number >= 0', atLeastZero),
  );
  return (position) => {
    const done = epochsDone(position);
    return factor ** epochs.filter((epoch) => done >= epoch).length;
  };
}

/**
 * A linear rise over the first epochs; the first step already learns.
 *
 * @param options `epochs` ≥ 0.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 */
export function warmup(options: { epochs: number }): Schedule {
  const name = 'warmup';
  const given = readOptions<typeof options>(name, options, ['epochs']);
  const epochs = checkNumber(
    name,
    'epochs',
    given.epochs,
    'a number >= 0',
    atLeastZero,
  );
  return (position) => {
    epochsDone(position);
    const { step, stepsPerEpoch } = position;
    return epochs === 0
      ? 1
      : Math.min(1, (step + 1) / (epochs * stepsPerEpoch));
  };
}

/**
 * For margins: 0 until `start` epochs are done, then 1 − 0.001^((e − start)/(end − start)), and 1
 * from `end` on (WeSpeaker's exponential schedule).
 *
 * @param options `start` and `end`, 0 ≤ start < end, in epochs.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 * @example
 * const ramp = marginRamp({ start: 20, end: 40 });
 * head.loss = qMargin({ margin: 0.2 * ramp({ step, stepsPerEpoch, epochs }) });
 */
export function marginRamp(options: { start: number; end: number }): Schedule {
  const name = 'marginRamp';
  const given = readOptions<typeof options>(name, options, ['start', 'end']);
  const start = checkNumber(
    name,
    'start',
    given.start,
    'a number >= 0',
    atLeastZero,
  );
  const end = checkNumber(
    name,
    'end',
    given.end,
    `a number above start, ${start}`,
    (value) => value > start,
  );
  return (position) => {
    const done = epochsDone(position);
    if (done < start) return 0;
    if (done >= end) return 1;
    return 1 - RAMP_REMAINDER ** ((done - start) / (end - start));
  };
}

function checkShare(name: string, argument: string, value: unknown): void {
  checkNumber(
    name,
    argument,
    value,
    'a number in (0, 1]',
    (share) => share > 0 && share <= 1,
  );
}
