import type { CopyRoom } from './copy-room.js';
import { invalidArgument, roomFor } from './errors.js';
import { makeOutputs, readBatch } from './head-batch.js';
import { checkWhole, type NearestOptions } from './head-options.js';
import type { CallOptions } from './invoke.js';
import type { LossSpecification } from './loss-specification.js';
import type { NativeBackend } from './native.js';
import type { RealLike } from './operand.js';
import { readOptions } from './options.js';
import {
  type MarginsLike,
  nativeLoss,
  type RowMarginOptions,
} from './row-margins.js';
import { type LabelsLike, readLabels } from './tensor.js';

/** What a head is, as far as its arguments depend on it. */
export interface HeadContext {
  readonly backend: NativeBackend;
  readonly identities: number;
  readonly dim: number;
  readonly loss: LossSpecification;
}

/** Options of an asynchronous call on a batch. */
export function readCallOptions(
  name: string,
  options: RowMarginOptions & CallOptions,
) {
  return readOptions<RowMarginOptions & CallOptions>(name, options, [
    'margins',
    'signal',
  ]);
}

/** The option of a synchronous call on a batch. */
export function readMarginOption(name: string, options: RowMarginOptions) {
  return readOptions<RowMarginOptions>(name, options, ['margins']).margins;
}

/** Checked copies of a labelled batch (the embeddings' in `room`), and arrays for its results. */
export function readStepInputs(
  name: string,
  head: HeadContext,
  embeddings: RealLike,
  labels: LabelsLike,
  margins: MarginsLike | null | undefined,
  wantsGradient: boolean,
  room: CopyRoom,
) {
  const { backend, dim } = head;
  const batch = readBatch(name, 'embeddings', embeddings, dim, backend, room);
  const classes = readLabels(name, labels, batch.rows);
  const loss = nativeLoss(name, head.loss, classes, margins);
  const hasMargins = loss.margins !== null;
  const outputs = makeOutputs(backend, batch, hasMargins, wantsGradient);
  return { data: batch.data, classes, loss, outputs };
}

/** Checked copies of a batch that may have no labels; then margins have nothing to act on. */
export function readPosteriorInputs(
  name: string,
  head: HeadContext,
  embeddings: RealLike,
  labels: LabelsLike | null | undefined,
  margins: MarginsLike | null | undefined,
) {
  const { backend, dim } = head;
  const batch = readBatch(name, 'embeddings', embeddings, dim, backend);
  const { data, rows } = batch;
  if (labels == null) {
    if (margins != null) {
      throw invalidArgument(name, 'margins', 'given with labels', margins);
    }
    const loss = nativeLoss(name, head.loss, new Int32Array(rows));
    return { rows, data, classes: null, loss };
  }
  const classes = readLabels(name, labels, rows);
  const loss = nativeLoss(name, head.loss, classes, margins);
  return { rows, data, classes, loss };
}

/** Checked copies of queries, and arrays for what is found. */
export function readNearestInputs(
  name: string,
  head: HeadContext,
  queries: RealLike,
  options: NearestOptions & CallOptions,
) {
  const given = readOptions<NearestOptions & CallOptions>(name, options, [
    'k',
    'signal',
  ]);
  const { backend, dim } = head;
  const { data, rows } = readBatch(name, 'queries', queries, dim, backend);
  const k = checkWhole(name, 'k', given.k ?? 1, 1, head.identities);
  return roomFor(name, () => {
    const identities = new Int32Array(rows * k);
    const cosines = new Float32Array(rows * k);
    return { data, k, identities, cosines, signal: given.signal };
  });
}
