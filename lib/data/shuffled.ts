import { readOptions } from '../options.js';
import { RandomStream } from '../random.js';
import {
  type BatchPlan,
  cached,
  checkCount,
  type RowChoice,
  readRowChoice,
  STREAM,
} from './batch-plan.js';

/** Options of {@link shuffled}. */
export interface ShuffledOptions {
  /** Number of rows, or the rows to take. */
  readonly rows: RowChoice;
  /** Rows per step; the last step of an epoch takes what is left. */
  readonly batch: number;
  /** A whole number; default 0. Each epoch has an order of its own. */
  readonly seed?: number | undefined;
  /** Rows that lie together and are read together; default 64. */
  readonly blockRows?: number | undefined;
  /** Rows held and mixed at a time; default 16384, and no less than `batch`. */
  readonly bufferRows?: number | undefined;
}

/**
 * Every row once in an epoch, in an order that a disk can follow. The file is cut into blocks of
 * neighbouring rows; the blocks come in random order, and those that fill a buffer are mixed row
 * by row. A batch is thus drawn from `bufferRows / blockRows` places of the file (256 by default).
 * Small blocks mix better, large ones read faster; `blockRows: 1` is a full shuffle.
 *
 * Reading holds two buffers of `bufferRows × D` float32, 67 MB by default at D = 512.
 *
 * @param options `rows` and `batch`; defaults: seed 0, blocks of 64, buffers of 16384 rows.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the option.
 * @example
 * const plan = shuffled({ rows: dataset.count, batch: 256, seed: 1 });
 * for await (const { embeddings, labels } of embeddingBatches(dataset, identities, plan)) {
 *   await head.step(embeddings, labels);
 * }
 */
export function shuffled(options: ShuffledOptions): BatchPlan {
  const name = 'shuffled';
  const read = readOptions<ShuffledOptions>(name, options, [
    'rows',
    'batch',
    'seed',
    'blockRows',
    'bufferRows',
  ]);
  const { count, rowAt } = readRowChoice(name, read.rows);
  const batch = checkCount(name, 'batch', read.batch);
  const seed = checkCount(name, 'seed', read.seed ?? 0, 0);
  const blockRows = checkCount(name, 'blockRows', read.blockRows ?? 64);
  const bufferRows = checkCount(name, 'bufferRows', read.bufferRows ?? 16384);
  const stepsPerEpoch = Math.ceil(count / batch);
  const readAhead = Math.max(1, Math.floor(bufferRows / batch));

  const order = cached((epoch) => {
    const blocks = Int32Array.from(
      { length: Math.ceil(count / blockRows) },
      (_, block) => block,
    );
    new RandomStream(seed, STREAM.blocks, epoch).shuffle(blocks);
    return placesInBlocks(blocks, blockRows, count);
  });
  const group = cached((epoch, index) => {
    const first = index * readAhead * batch;
    const length = Math.min(readAhead * batch, count - first);
    const placeAt = order(epoch, 0);
    const rows = Int32Array.from({ length }, (_, i) =>
      rowAt(placeAt(first + i)),
    );
    new RandomStream(seed, STREAM.withinGroup, epoch, index).shuffle(rows);
    return rows;
  });
  return {
    stepsPerEpoch,
    readAhead,
    rowsOf(step) {
      const inEpoch = step % stepsPerEpoch;
      const epoch = Math.floor(step / stepsPerEpoch);
      const rows = group(epoch, Math.floor(inEpoch / readAhead));
      const first = (inEpoch % readAhead) * batch;
      return rows.subarray(first, first + batch);
    },
  };
}

/** The place in the file of each position of an order of blocks, of which one may be short. */
function placesInBlocks(
  blocks: Int32Array,
  blockRows: number,
  count: number,
): (position: number) => number {
  const missing = blocks.length * blockRows - count;
  const shortEnd =
    (blocks.indexOf(blocks.length - 1) + 1) * blockRows - missing;
  return (position) => {
    const shifted = position < shortEnd ? position : position + missing;
    const block = blocks[Math.floor(shifted / blockRows)]!;
    return block * blockRows + (shifted % blockRows);
  };
}
