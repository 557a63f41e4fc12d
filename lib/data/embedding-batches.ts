import { invalidArgument, roomFor } from '../errors.js';
import { readOptions } from '../options.js';
import type { Matrix } from '../tensor.js';
import { readArray } from '../typed-arrays.js';
import type { BatchPlan } from './batch-plan.js';
import { checkDataset, type EmbeddingRows } from './embedding-dataset.js';

/** A batch of {@link embeddingBatches}: what `head.step` takes, and where it is from. */
export interface EmbeddingBatch {
  /** Number of the step; a run that goes on after it begins `from: step + 1`. */
  readonly step: number;
  /** Int32Array [B], rows of the data set. */
  readonly rows: Int32Array;
  /** [B, D]; the array belongs to the caller. */
  readonly embeddings: Matrix;
  /** Int32Array [B]. */
  readonly labels: Int32Array;
}

/** Options of {@link embeddingBatches}. */
export interface EmbeddingBatchesOptions {
  /** First step, a whole number; default 0. */
  readonly from?: number | undefined;
  /** Epochs, counted from step 0; default 1. */
  readonly epochs?: number | undefined;
}

/**
 * Reads the batches of a plan from a data set, while the caller computes: rows are read for
 * several steps at once, and the next ones while those are used. Memory is two such buffers
 * (`2 × readAhead × B × D` float32) whatever the size of the data set.
 *
 * @param dataset Rows [N, D], of {@link openEmbeddings} for instance.
 * @param labels Int32Array [N], the identity of each row; it may not change meanwhile.
 * @param plan Of {@link shuffled}, {@link classBalanced}, {@link identitySamples},
 *   {@link sequential}, or a plan of your own.
 * @param options Defaults: one epoch from step 0 on.
 * @returns Batches for `head.step` and `head.reinitialize`.
 * @throws AlphaMarginError, when a batch is asked for: `ERR_INVALID_ARGUMENT` for labels of another
 *   number, an option out of range or a plan whose rows are not in the data set; `ERR_CHECKPOINT`
 *   when a file cannot be read.
 * @example
 * const plan = shuffled({ rows: dataset.count, batch: 256 });
 * for await (const batch of embeddingBatches(dataset, labels, plan, { epochs: 10 })) {
 *   await head.step(batch.embeddings, batch.labels);
 * }
 */
export async function* embeddingBatches(
  dataset: EmbeddingRows,
  labels: Int32Array,
  plan: BatchPlan,
  options: EmbeddingBatchesOptions = {},
): AsyncGenerator<EmbeddingBatch> {
  const checked = checkArguments(dataset, labels, plan, options);
  const { from, end, dim, gather, ownLabels } = checked;
  const { stepsPerEpoch, readAhead, rowsOf } = checked;
  const buffers = [new Float32Array(0), new Float32Array(0)];

  /** Reads the rows of the steps from one on, into one buffer; the other one is in use. */
  const read = async (first: number) => {
    const inEpoch = first % stepsPerEpoch;
    const length = Math.min(
      readAhead - (inEpoch % readAhead),
      stepsPerEpoch - inEpoch,
      end - first,
    );
    const steps = Array.from({ length }, (_, i) =>
      checkRows(rowsOf(first + i), first + i),
    );
    const count = steps.reduce((sum, rows) => sum + rows.length, 0);
    const rows = new Int32Array(count);
    let place = 0;
    for (const own of steps) {
      rows.set(own, place);
      place += own.length;
    }
    let buffer = buffers.shift()!;
    if (buffer.length < count * dim) {
      buffer = roomFor(name, () => new Float32Array(count * dim));
    }
    buffers.push(buffer);
    await gather(rows, buffer.subarray(0, count * dim));
    return { steps, buffer, next: first + length };
  };

  let reading: ReturnType<typeof read> | undefined;
  if (from < end) reading = read(from);
  try {
    for (let step = from; step < end; ) {
      const { steps, buffer, next } = await reading!;
      reading = next < end ? read(next) : undefined;
      // Its failure is reported when its turn comes.
      reading?.catch(() => {});
      let place = 0;
      for (const own of steps) {
        const data = buffer.slice(place * dim, (place + own.length) * dim);
        place += own.length;
        yield {
          step,
          rows: own.slice(),
          embeddings: { type: 'float32', data, dims: [own.length, dim] },
          labels: own.map((row) => ownLabels[row]!),
        };
        step += 1;
      }
    }
  } finally {
    // A caller that stops early may close the files at once.
    await reading?.catch(() => {});
  }
}

const name = 'embeddingBatches';

function checkArguments(
  dataset: EmbeddingRows,
  labels: unknown,
  plan: BatchPlan,
  options: EmbeddingBatchesOptions,
) {
  const { count, dim, gather } = checkDataset(name, dataset);
  const ownLabels = readArray(labels, 'Int32Array');
  if (ownLabels === undefined || ownLabels.length !== count) {
    throw invalidArgument(
      name,
      'labels',
      `an Int32Array of one label for each of ${count} rows`,
      labels,
    );
  }
  const { stepsPerEpoch, readAhead, rowsOf } = plan ?? {};
  for (const [property, value] of Object.entries({
    stepsPerEpoch,
    readAhead,
  })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw invalidArgument(
      name,
      `plan.${property}`,
      'a whole number > 0',
      value,
    );
  }
  if (typeof rowsOf !== 'function') {
    throw invalidArgument(name, 'plan.rowsOf', 'a function', rowsOf);
  }
  const { from = 0, epochs = 1 } = readOptions<EmbeddingBatchesOptions>(
    name,
    options,
    ['from', 'epochs'],
  );
  for (const [option, value] of Object.entries({ from, epochs })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw invalidArgument(
      name,
      `options.${option}`,
      'a whole number >= 0',
      value,
    );
  }
  const end = epochs * stepsPerEpoch;
  return {
    from,
    end,
    dim,
    gather,
    stepsPerEpoch,
    readAhead,
    rowsOf: (step: number): unknown => Reflect.apply(rowsOf, plan, [step]),
    ownLabels,
  };
}

/** The rows that a plan gave for a step. */
function checkRows(value: unknown, step: number): Int32Array {
  const rows = readArray(value, 'Int32Array');
  if (rows !== undefined) return rows;
  throw invalidArgument(name, `plan.rowsOf(${step})`, 'an Int32Array', value);
}
