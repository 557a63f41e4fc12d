import { type Tensor, tensor } from '../../lib/index.js';

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers as a float32 tensor [rows, columns]. */
export function normalTensor(
  rows: number,
  columns: number,
  seed: number,
  deviation = 1,
): Tensor {
  const next = uniform(seed);
  const data = Float32Array.from(
    { length: rows * columns },
    () =>
      deviation *
      Math.sqrt(-2 * Math.log(1 - next())) *
      Math.cos(2 * Math.PI * next()),
  );
  return tensor(data, [rows, columns]);
}

/** Labels [rows] in [0, classes). */
export function randomLabels(
  rows: number,
  classes: number,
  seed: number,
): Int32Array {
  const next = uniform(seed ^ 0x5bd1e995);
  return Int32Array.from({ length: rows }, () => Math.floor(next() * classes));
}

/**
 * Embeddings as a trained backbone would make them: their prototype plus noise, so that the
 * target's cosine is large and rows at zero loss occur.
 */
export function clusteredEmbeddings(
  prototypes: Tensor,
  labels: Int32Array,
  noise: number,
  seed: number,
): Tensor {
  const dim = prototypes.dims[1]!;
  const { data } = normalTensor(labels.length, dim, seed, noise);
  labels.forEach((label, row) => {
    for (let k = 0; k < dim; k += 1) {
      data[row * dim + k]! += prototypes.data[label * dim + k]!;
    }
  });
  return tensor(data, [labels.length, dim]);
}

/**
 * Corners of a cube of 64 dimensions: their norms are 8 and their cosines multiples of 1/32, so
 * all of it is exact in float32, and ties are common.
 */
export function cornerTensor(rows: number, seed: number): Tensor {
  const next = uniform(seed);
  const data = Float32Array.from({ length: rows * 64 }, () =>
    next() < 0.5 ? -1 : 1,
  );
  return tensor(data, [rows, 64]);
}

/** Rows of a tensor in a new order. */
export function reorderRows(value: Tensor, order: ArrayLike<number>): Tensor {
  const width = value.dims[1]!;
  const data = new Float32Array(order.length * width);
  for (let i = 0; i < order.length; i += 1) {
    const first = order[i]! * width;
    data.set(value.data.subarray(first, first + width), i * width);
  }
  return tensor(data, [order.length, width]);
}

/** A random permutation of 0 … size − 1. */
export function permutation(size: number, seed: number): Int32Array {
  const next = uniform(seed);
  const order = Int32Array.from({ length: size }, (_, i) => i);
  for (let i = size - 1; i > 0; i -= 1) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
