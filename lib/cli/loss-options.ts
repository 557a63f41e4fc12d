import type { InterTopK } from '../inter-top-k.js';
import {
  a3m,
  arcFace,
  cosFace,
  entmaxHead,
  type LossSpecification,
  qMargin,
} from '../loss-specification.js';
import { UsageError } from './usage.js';

/** Losses of the command line. */
export const LOSS_NAMES = [
  'q-margin',
  'a3m',
  'cosface',
  'arcface',
  'entmax',
] as const;

/** Name of a loss on the command line. */
export type LossName = (typeof LOSS_NAMES)[number];

/** A loss whose margin a schedule may scale. */
export interface LossChoice {
  readonly name: LossName;
  readonly alpha?: number | undefined;
  readonly scale?: number | undefined;
  readonly margin?: number | undefined;
  /** Of softmax losses. */
  readonly labelSmoothing?: number | undefined;
  readonly interTopK?: InterTopK | undefined;
}

/** Losses that can have label smoothing. */
const SMOOTHED: readonly LossName[] = ['cosface', 'arcface'];

/** The specification of a choice; what is not given has the default of its function. */
export function chooseLoss({
  name,
  alpha,
  scale,
  margin,
  labelSmoothing,
  interTopK,
}: LossChoice): LossSpecification {
  if (labelSmoothing !== undefined && !SMOOTHED.includes(name)) {
    throw new UsageError(
      `--label-smoothing goes with --loss ${SMOOTHED.join(' or ')}, not with ${name}`,
    );
  }
  const smoothing = labelSmoothing !== undefined && { labelSmoothing };
  const options = {
    ...(alpha !== undefined && { alpha }),
    ...(scale !== undefined && { scale }),
    ...(margin !== undefined && { margin }),
    ...(interTopK !== undefined && { interTopK }),
  };
  switch (name) {
    case 'q-margin':
      return qMargin(options);
    case 'a3m':
      return a3m(options);
    case 'cosface':
      return cosFace({ ...options, ...smoothing });
    case 'arcface':
      return arcFace({ ...options, ...smoothing });
    case 'entmax':
      return entmaxHead(options);
  }
}

/**
 * Reads an inter-top-K penalty `K:PENALTY`.
 *
 * @throws UsageError unless K is a whole number >= 1 and the penalty lies in [0, 2].
 */
export function parseInterTopK(text: string): InterTopK {
  const numbers = text
    .split(':')
    .map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  const [k = 0, penalty = -1] = numbers;
  if (
    numbers.length === 2 &&
    Number.isSafeInteger(k) &&
    k >= 1 &&
    penalty >= 0 &&
    penalty <= 2
  ) {
    return { k, penalty };
  }
  throw new UsageError(
    '--inter-top-k must be K:PENALTY, a whole number >= 1 and a number in [0, 2], ' +
      `not '${text}'`,
  );
}

/** The margin of a specification: only one of its three is not zero. */
export function marginOf(loss: LossSpecification): number {
  return loss.measureMargin + loss.angularMargin + loss.cosineMargin;
}

/** The same loss with its margin multiplied by `factor` in [0, 1]. */
export function scaleMargin(
  loss: LossSpecification,
  factor: number,
): LossSpecification {
  if (factor === 1) return loss;
  return Object.freeze({
    ...loss,
    measureMargin: loss.measureMargin * factor,
    angularMargin: loss.angularMargin * factor,
    cosineMargin: loss.cosineMargin * factor,
  });
}
