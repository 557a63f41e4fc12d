import { AlphaMarginError } from './errors.js';
import { checkBatch, checkBatches, readBatch } from './head-batch.js';
import type { HeadCalls } from './head-calls.js';
import type { LabelledBatch } from './head-options.js';
import { readLabels } from './tensor.js';

/** Heads whose class sums are being taken; two passes at once would mix them. */
const running = new WeakSet<HeadCalls>();

/** The body of `PrototypeHead.reinitialize`: sums over the batches, then one replacement. */
export async function reinitialize(
  name: string,
  calls: HeadCalls,
  [identities, dim]: readonly [number, number],
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  chosen: Int32Array | null,
  signal: AbortSignal | undefined,
): Promise<number> {
  const selected = chosen && new Uint8Array(identities);
  for (const identity of chosen ?? []) selected![identity] = 1;
  if (running.has(calls)) {
    throw new AlphaMarginError(
      'ERR_BUSY',
      `${name}: another re-initialisation of this head is running`,
    );
  }
  running.add(calls);
  try {
    signal?.throwIfAborted();
    for await (const item of checkBatches(name, batches)) {
      const { embeddings, labels } = checkBatch(name, item);
      const batch = readBatch(
        name,
        'embeddings',
        embeddings,
        dim,
        calls.backend,
      );
      const classes = readLabels(name, labels, batch.rows);
      await calls.enqueue(name, reinitialize, { signal }, (head) =>
        head.accumulateMeans(batch.data, classes, selected),
      );
    }
    return await calls.enqueue(name, reinitialize, {}, (head) =>
      head.applyMeans(),
    );
  } catch (error) {
    await calls.abandon((head) => head.discardMeans());
    throw error;
  } finally {
    running.delete(calls);
  }
}
