// A little of everything on the CPU, for tools that watch a process from outside:
//
//   valgrind --leak-check=full node --jitless test/reliability/smoke.mjs
import * as api from 'alphamargin';

const [rows, identities, dim] = [19, 989, 33];
const numbers = (count) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(1.7 * i + count));
const embeddings = api.tensor(numbers(rows * dim), [rows, dim]);
const labels = Int32Array.from({ length: rows }, (_, row) => 5 * row);

for (const loss of [
  api.qMargin({ alpha: 1.5, scale: 10, margin: 0.2 }),
  api.a3m({ alpha: 1.25, scale: 16, margin: 0.1 }),
  api.cosFace({ alpha: 1, scale: 32, margin: 0.3 }),
]) {
  const head = new api.PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: api.sgd({ learningRate: 0.1, momentum: 0.9 }),
    device: 'cpu',
  });
  head.stepSync(embeddings, labels);
  await head.step(embeddings, labels);
  await head.evaluate(embeddings, labels);
  await head.forward(embeddings, labels);
  await head.nearest(embeddings, { k: 3 });
  head.dispose();
}

const logits = api.tensor(numbers(7 * 111), [7, 111]);
const posterior = await api.entmax(logits, { alpha: 1.5 });
await api.sparseEntmax(logits, { alpha: 1.25 });
await api.entmaxBackward(logits, posterior, { alpha: 1.5 });
console.log(`done, ${api.backendInfo().instructionSet} kernels`);
