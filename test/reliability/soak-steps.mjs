// What the load test trains on, and the process that it compares itself with: started with the path of a
// checkpoint, it answers a number of steps with the milliseconds that they took.
import { PrototypeHead } from 'alphamargin';
import { chooser, options, positionals, uniform } from './support.mjs';

export const [identities, dim, rows] = [20_000, 128, 128];
const g = chooser(uniform(Number(options.seed), 81));
export const batches = Array.from({ length: 8 }, () => [
  { data: g.floats(rows * dim), dims: [rows, dim] },
  g.integers(rows, identities),
]);
export const queries = { data: g.floats(8 * dim), dims: [8, dim] };

/** Milliseconds that some steps of a head take. */
export async function timeSteps(head, count) {
  const started = performance.now();
  for (let round = 0; round < count; round += 1) {
    await head.step(...batches[round % batches.length]);
  }
  return performance.now() - started;
}

if (process.send !== undefined && positionals.length === 1) {
  const head = await PrototypeHead.load(positionals[0], { device: 'cpu' });
  process.on('message', async (count) =>
    process.send(await timeSteps(head, count)),
  );
}
