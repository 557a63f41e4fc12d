import { UsageError } from './usage.js';

/** Where a training run stands. */
export interface Position {
  /** Steps done since the start of training. */
  readonly step: number;
  readonly stepsPerEpoch: number;
  /** Epochs of the whole run. */
  readonly epochs: number;
}

/** A factor in [0, 1] for each position. */
export type Schedule = (position: Position) => number;

/** Final learning rate over the initial one when `exp` names none (WeSpeaker: 5e-5 / 0.1). */
const EXPONENTIAL_RATIO = 5e-4;

/** The margin ramp ends at this distance from its final value (WeSpeaker), then jumps to it. */
const RAMP_REMAINDER = 1e-3;

function epochsDone({ step, stepsPerEpoch }: Position): number {
  return step / stepsPerEpoch;
}

function progress(position: Position): number {
  return Math.min(1, epochsDone(position) / position.epochs);
}

function number(text: string | undefined, accept: (value: number) => boolean) {
  const value = text === undefined || text.trim() === '' ? NaN : Number(text);
  return Number.isFinite(value) && accept(value) ? value : undefined;
}

/**
 * Reads a learning-rate schedule; p is the share of the run that is done, e the epochs done:
 *
 * | text | factor |
 * |---|---|
 * | `constant` | 1 |
 * | `linear` | 1 − p |
 * | `poly:K` | (1 − p)^K |
 * | `steps:10,20:0.1` | 0.1 for each of the epochs 10, 20 that is reached |
 * | `exp`, `exp:R` | R^p, R = 5e-4 unless given |
 *
 * @throws UsageError for anything else.
 */
export function parseLearningRateSchedule(text: string): Schedule {
  const [kind, ...parts] = text.split(':');
  const fail = () =>
    new UsageError(
      `--lr-schedule must be constant, linear, poly:K, steps:E1,E2,…:FACTOR or exp[:RATIO], not '${text}'`,
    );
  if (kind === 'constant' && parts.length === 0) return () => 1;
  if (kind === 'linear' && parts.length === 0) {
    return (position) => 1 - progress(position);
  }
  if (kind === 'poly' && parts.length === 1) {
    const power = number(parts[0], (value) => value > 0);
    if (power === undefined) throw fail();
    return (position) => (1 - progress(position)) ** power;
  }
  if (kind === 'exp' && parts.length <= 1) {
    const ratio =
      parts.length === 0
        ? EXPONENTIAL_RATIO
        : number(parts[0], (value) => value > 0 && value <= 1);
    if (ratio === undefined) throw fail();
    return (position) => ratio ** progress(position);
  }
  if (kind === 'steps' && parts.length === 2) {
    const factor = number(parts[1], (value) => value > 0 && value <= 1);
    const epochs = parts[0]!
      .split(',')
      .map((part) => number(part, (value) => value >= 0));
    if (factor === undefined || epochs.includes(undefined)) throw fail();
    return (position) => {
      const done = epochsDone(position);
      return factor ** epochs.filter((epoch) => done >= epoch!).length;
    };
  }
  throw fail();
}

/** Linear rise over the first epochs; the first step already learns. */
export function warmup(epochs: number): Schedule {
  return ({ step, stepsPerEpoch }) =>
    epochs === 0 ? 1 : Math.min(1, (step + 1) / (epochs * stepsPerEpoch));
}

/**
 * Reads a margin ramp `START:END`: factor 0 until START epochs are done, then
 * 1 − 0.001^((e − START)/(END − START)), and 1 from END on (WeSpeaker's exponential schedule).
 *
 * @throws UsageError unless 0 ≤ START < END.
 */
export function parseMarginRamp(text: string): Schedule {
  const parts = text.split(':');
  const [start, end] = parts.map((part) => number(part, (value) => value >= 0));
  if (
    parts.length !== 2 ||
    start === undefined ||
    end === undefined ||
    start >= end
  ) {
    throw new UsageError(
      `--margin-ramp must be START:END in epochs with START < END, not '${text}'`,
    );
  }
  return (position) => {
    const done = epochsDone(position);
    if (done < start) return 0;
    if (done >= end) return 1;
    return 1 - RAMP_REMAINDER ** ((done - start) / (end - start));
  };
}
