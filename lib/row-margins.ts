import { invalidArgument } from './errors.js';
import { type LossSpecification, marginRange } from './loss-specification.js';
import type { NativeLoss } from './native.js';
import {
  type FloatsLike,
  IGNORED_LABEL,
  readFloats,
  type Vector,
} from './tensor.js';

/** Margins of single rows [B]: see {@link RowMarginOptions.margins}. */
export type MarginsLike = FloatsLike;

/** Option of every call that applies a loss to a labelled batch. */
export interface RowMarginOptions {
  /**
   * Margins of the rows [B], float32 or numbers, in place of the loss's own margin and within its
   * range: radians for A3M and ArcFace, units of the cosine for Q-Margin and CosFace. Those of
   * ignored rows are not read. EntMax has no margin to replace and combined margins have several, so both
   * refuse the option. Default: the loss's margin for all rows.
   */
  margins?: MarginsLike | null | undefined;
}

/** Gradients of margins: there where margins are. */
export type MarginGradients<Options extends RowMarginOptions> =
  Options extends { margins: MarginsLike } ? Vector : Vector | null;

/** Where the margin of a loss acts that single rows may replace. */
function marginPlace(loss: LossSpecification): NativeLoss['marginPlace'] {
  switch (loss.name) {
    case 'q-margin':
      return 'measure';
    case 'a3m':
    case 'arcface':
      return 'angular';
    case 'cosface':
      return 'cosine';
    case 'entmax':
    case 'combined':
      return 'none';
  }
}

/** A loss as the addon reads it, with the checked margins of the rows of a batch. */
export function nativeLoss(
  name: string,
  loss: LossSpecification,
  labels: Int32Array,
  margins?: MarginsLike | null,
): NativeLoss {
  const place = marginPlace(loss);
  return {
    ...loss,
    marginPlace: place,
    margins: margins == null ? null : readMargins(name, loss, labels, margins),
  };
}

function readMargins(
  name: string,
  loss: LossSpecification,
  labels: Int32Array,
  value: MarginsLike,
): Float32Array {
  const place = marginPlace(loss);
  if (place === 'none') {
    throw invalidArgument(
      name,
      'margins',
      `left out for ${loss.name}, which has ${loss.name === 'entmax' ? 'no margin' : 'more than one margin'}`,
      value,
    );
  }
  const rows = labels.length;
  const what = 'margins, one for each row';
  const copy = readFloats(name, 'margins', value, rows, what);
  const range = marginRange(loss, place);
  for (let row = 0; row < rows; row += 1) {
    const margin = copy[row]!;
    if (labels[row] === IGNORED_LABEL) copy[row] = 0;
    else if (!(margin >= 0 && margin <= range.largest)) {
      throw invalidArgument(name, `margins[${row}]`, range.expected, margin);
    }
  }
  return copy;
}
