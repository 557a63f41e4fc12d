import {
  cosineDecay,
  exponentialDecay,
  linearDecay,
  marginRamp,
  polynomialDecay,
  type Schedule,
  stepDecay,
} from '../schedules.js';
import { UsageError } from './usage.js';

function number(text: string | undefined): number {
  return text === undefined || text.trim() === '' ? Number.NaN : Number(text);
}

/**
 * Reads a learning-rate schedule; p is the share of the run that is done, e the epochs done:
 *
 * | text | factor |
 * |---|---|
 * | `constant` | 1 |
 * | `linear` | 1 − p |
 * | `cosine` | ½·(1 + cos πp) |
 * | `poly:K` | (1 − p)^K |
 * | `steps:10,20:0.1` | 0.1 for each of the epochs 10, 20 that is reached |
 * | `exp`, `exp:R` | R^p, R = 5e-4 unless given |
 *
 * @throws UsageError for anything else.
 */
export function parseLearningRateSchedule(text: string): Schedule {
  const [kind, ...parts] = text.split(':');
  try {
    if (parts.length === 0) {
      if (kind === 'constant') return () => 1;
      if (kind === 'linear') return linearDecay();
      if (kind === 'cosine') return cosineDecay();
      if (kind === 'exp') return exponentialDecay();
    }
    if (parts.length === 1) {
      if (kind === 'poly') return polynomialDecay({ power: number(parts[0]) });
      if (kind === 'exp') return exponentialDecay({ ratio: number(parts[0]) });
    }
    if (parts.length === 2 && kind === 'steps') {
      const epochs = parts[0]!.split(',').map(number);
      return stepDecay({ epochs, factor: number(parts[1]) });
    }
  } catch {
    // What a number must be is in the message below.
  }
  throw new UsageError(
    `--lr-schedule must be constant, linear, cosine, poly:K, steps:E1,E2,…:FACTOR or exp[:RATIO], not '${text}'`,
  );
}

/**
 * Reads a margin ramp `START:END` in epochs.
 *
 * @throws UsageError unless 0 ≤ START < END.
 */
export function parseMarginRamp(text: string): Schedule {
  const parts = text.split(':');
  try {
    if (parts.length === 2) {
      return marginRamp({ start: number(parts[0]), end: number(parts[1]) });
    }
  } catch {
    // As above.
  }
  throw new UsageError(
    `--margin-ramp must be START:END in epochs with START < END, not '${text}'`,
  );
}
