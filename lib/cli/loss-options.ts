import {
  a3m,
  arcFace,
  cosFace,
  entmaxHead,
  type LossSpecification,
  qMargin,
} from '../loss-specification.js';

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
}

/** The specification of a choice; what is not given has the default of its function. */
export function chooseLoss({
  name,
  alpha,
  scale,
  margin,
}: LossChoice): LossSpecification {
  const options = {
    ...(alpha !== undefined && { alpha }),
    ...(scale !== undefined && { scale }),
    ...(margin !== undefined && { margin }),
  };
  switch (name) {
    case 'q-margin':
      return qMargin(options);
    case 'a3m':
      return a3m(options);
    case 'cosface':
      return cosFace(options);
    case 'arcface':
      return arcFace(options);
    case 'entmax':
      return entmaxHead(options);
  }
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
