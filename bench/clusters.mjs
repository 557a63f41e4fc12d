import { uniform } from './random.mjs';

// Look-alikes: the cosine of two prototypes of a cluster is about LOOK_ALIKE, of others about 0.
const CLUSTER_SIZE = 32;
const LOOK_ALIKE = [0.3, 0.5];
/** Cosine of an embedding with the prototype of its identity. */
const TARGET = [0.6, 0.8];

/**
 * A random direction from a seed, of length about 1. Coordinates are uniform, not normal, from a
 * generator of three shifts (xorshift32): a gallery of a million is made in seconds, and in
 * hundreds of dimensions the directions are as good as isotropic.
 */
function fillDirection(seed, vector) {
  const scale = Math.sqrt(12 / vector.length) / 2 ** 32;
  // Neighbouring seeds would begin alike.
  let state = Math.floor(uniform(seed)() * 2 ** 32) | 1;
  for (let d = 0; d < vector.length; d += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    vector[d] = state * scale;
  }
}

/** vector ← √share · towards + √(1 − share) · vector, then unit length. */
function pull(vector, towards, share) {
  const near = Math.sqrt(share);
  const far = Math.sqrt(1 - share);
  let squares = 0;
  for (let d = 0; d < vector.length; d += 1) {
    const value = near * towards[d] + far * vector[d];
    vector[d] = value;
    squares += value * value;
  }
  const factor = 1 / Math.sqrt(squares);
  for (let d = 0; d < vector.length; d += 1) vector[d] *= factor;
}

/** A seed for each of many things, far from the seeds of the others. */
function seedOf(kind, index) {
  return (Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(kind, 0x85ebca6b)) >>> 0;
}

/**
 * Prototypes as training leaves them: identities have look-alikes, and embeddings lie near the
 * prototype of their own. Every row follows from its index alone, so none has to be kept.
 */
export function trainedLike(dim) {
  const center = new Float32Array(dim);
  const own = new Float32Array(dim);
  let currentCluster = -1;

  function fillPrototype(identity, vector) {
    const cluster = Math.floor(identity / CLUSTER_SIZE);
    if (cluster !== currentCluster) fillDirection(seedOf(1, cluster), center);
    currentCluster = cluster;
    const [low, high] = LOOK_ALIKE;
    const place = uniform(seedOf(2, identity))();
    fillDirection(seedOf(3, identity), vector);
    pull(vector, center, low + (high - low) * place);
  }

  return {
    fillPrototype,
    /** An embedding of an identity; `random` draws a new one each time. */
    fillEmbedding(identity, random, vector) {
      fillPrototype(identity, own);
      const [low, high] = TARGET;
      const cosine = low + (high - low) * random();
      fillDirection(Math.floor(random() * 2 ** 32), vector);
      pull(vector, own, cosine * cosine);
    },
  };
}

const BLOCK = 2048;

/** Replaces all prototypes of a head, a block at a time; needs node --expose-gc. */
export async function setTrainedLike(head, source) {
  const { identities, dim } = head;
  const buffer = new Float32Array(BLOCK * dim);
  for (let first = 0; first < identities; first += BLOCK) {
    const count = Math.min(BLOCK, identities - first);
    const data = buffer.subarray(0, count * dim);
    for (let row = 0; row < count; row += 1) {
      const vector = data.subarray(row * dim, (row + 1) * dim);
      source.fillPrototype(first + row, vector);
    }
    const chosen = Int32Array.from({ length: count }, (_, i) => first + i);
    await head.setPrototypes(
      { type: 'float32', data, dims: [count, dim] },
      chosen,
    );
    // The head copies what it is given. The copies must not pile up: the memory of the process
    // is part of the result.
    globalThis.gc();
  }
}
