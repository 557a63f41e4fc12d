// Work for all processors.
import { availableParallelism } from 'node:os';

/** Runs `work` on every item, as many at a time as there are processors; the results in order. */
export async function inParallel(items, work) {
  const results = new Array(items.length);
  const left = items.keys();
  const worker = async () => {
    for (const i of left) results[i] = await work(items[i]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}
