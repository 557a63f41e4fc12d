// Good arguments for the catalogue, and the forms in which it names them.
import * as api from 'alphamargin';

export const C = 9;
export const D = 4;
export const B = 3;

export const losses = (g) =>
  g.pick([
    () => api.qMargin({ alpha: 1.25, scale: 16 }),
    () => api.a3m({ alpha: 1.5, scale: 8 }),
    () => api.cosFace({ scale: 16 }),
    () => api.arcFace({ alpha: 2, scale: 8 }),
    () => api.entmaxHead({ alpha: 3, scale: 2 }),
    () => api.combinedMargin({ alpha: 1.5, scale: 4, m1: 1, m2: 0.1, m3: 0.1 }),
  ])();

export const optimizers = (g) =>
  g.pick([
    () => api.sgd({ learningRate: 0.1, momentum: 0.9 }),
    () => api.sgd(),
    () => api.adagrad({ learningRate: 0.1 }),
  ])();

export const headOptions = (g) => ({
  identities: C,
  dim: D,
  loss: { ...losses(g) },
  optimizer: { ...optimizers(g) },
  device: g.device(),
  seed: 3,
  ...(g.chance(0.3) && {
    prototypes: { data: g.floats(C * D), dims: [C, D] },
  }),
  ...(g.chance(0.3) && { reference: new Float32Array(C).fill(1) }),
  ...(g.chance(0.2) && { scratchBudget: g.pick([0, 1000]) }),
});

const head = (g) => new api.PrototypeHead({ ...headOptions(g) });

/** A tensor [rows, columns] as callers may write it; sometimes on the device. */
export function real(g, rows, columns, scale = 1) {
  const data = g.floats(rows * columns, scale);
  const dims = [rows, columns];
  switch (g.below(8)) {
    case 0:
      return { data, shape: dims };
    case 1:
      return { type: 'float32', data, dims, extra: 1 };
    case 2:
      return {
        type: 'float16',
        data: new Uint16Array(rows * columns).fill(0x3800),
        dims,
      };
    case 3:
      return g.device() === 'cuda-emulated'
        ? api.DeviceTensor.uploadSync({ data, dims }, { device: g.device() })
        : { data, dims };
    default:
      return { data, dims };
  }
}

export const labels = (g, rows, classes) =>
  g.pick([
    () => g.integers(rows, classes),
    () => [...g.integers(rows, classes)],
    () => BigInt64Array.from(g.integers(rows, classes), BigInt),
    () => ({ data: g.integers(rows, classes), dims: [rows] }),
  ])();

export const call = (g, options = {}) => ({
  ...options,
  ...(g.chance(0.3) && { signal: g.signal() }),
});

export const posteriorOptions = (g) => ({
  alpha: g.pick([1, 1.25, 1.5, 2, 3]),
  device: g.device(),
  ...(g.chance(0.3) && { reference: new Float32Array(5).fill(0.5) }),
});

const lossOptions = (g) => ({
  alpha: g.pick([1, 1.25, 2]),
  scale: 8,
  margin: 0.2,
  device: g.device(),
  ...(g.chance(0.3) && { reference: new Float32Array(5).fill(0.5) }),
});

/** The two forms of a function: a Promise, and on the calling thread. */
export const both = (name, make, sync = make) => ({
  [name]: { make },
  [`${name}Sync`]: { make: sync },
});

export const lossFunction = (name, own = (options) => options) =>
  both(
    name,
    (g) => [real(g, B, 5, 0.9), labels(g, B, 5), call(g, own(lossOptions(g)))],
    (g) => [real(g, B, 5, 0.9), labels(g, B, 5), own(lossOptions(g))],
  );

export const withoutMargin = ({ margin, ...options }) => options;

export const specification = (options) => ({
  make: () => [structuredClone(options)],
});

export const method = (name, make, weight = 20) => ({
  [`PrototypeHead.${name}`]: { on: head, make, weight },
});

export const scores = (g) => api.trialScoresFrom(g.floats(12), g.floats(9));

export const named = (g) => [{ name: 'one', scores: { ...scores(g) } }];

export const plotOptions = () => ({ title: 't', width: 200, height: 200 });

export const dataset = (g) =>
  api.openEmbeddings(g.files[g.pick(['npy', 'safetensors', 'scp', 'ark'])]);

export const rowsLike = (g) => ({
  count: 6,
  dim: 3,
  gather: async (rows, target) => {
    target.fill(rows.length);
    if (g.chance(0.1)) g.fail();
  },
});

export const plan = (g) =>
  g.pick([
    () => api.sequential({ rows: 6, batch: 2 }),
    () => api.shuffled({ rows: 6, batch: 4, seed: 2 }),
    () => ({
      stepsPerEpoch: 2,
      readAhead: 1,
      rowsOf: () => Int32Array.of(0, 5),
    }),
  ])();

export const path = (name, weight = 6) => ({
  weight,
  make: (g) => [g.files[name]],
});

export const safetensorsContent = (g) => ({
  metadata: { note: 'x' },
  tensors: [
    {
      name: 'a',
      dtype: 'F32',
      shape: [2, 3],
      chunks: [new Uint8Array(12), new Uint8Array(12)],
    },
    { name: 'b', dtype: 'U8', shape: [1], chunks: [new Uint8Array(1)] },
  ],
  ...(g.chance(0.1) && { metadata: undefined }),
});
