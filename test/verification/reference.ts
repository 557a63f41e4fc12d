import fc from 'fast-check';
import type { TrialScores } from '../../lib/verification/index.js';

/** One operating point, counted over again at each threshold. */
export interface Point {
  threshold: number;
  far: number;
  frr: number;
}

/** All operating points in the plainest way: O(T²), float64. */
export function operatingPoints(
  genuine: readonly number[],
  impostor: readonly number[],
): Point[] {
  const thresholds = [
    Number.POSITIVE_INFINITY,
    ...[...new Set([...genuine, ...impostor])].sort((a, b) => b - a),
  ];
  return thresholds.map((threshold) => ({
    threshold,
    far:
      impostor.filter((score) => score >= threshold).length / impostor.length,
    frr: genuine.filter((score) => score < threshold).length / genuine.length,
  }));
}

/** Equal error rate: where the line through the points crosses FAR = FRR. */
export function equalErrorRate(points: readonly Point[]): number {
  const k = points.findIndex(({ far, frr }) => far >= frr);
  const a = points[k - 1]!;
  const b = points[k]!;
  const rise = b.far - a.far;
  const fall = a.frr - b.frr;
  // far and frr meet where a.far + t·rise = a.frr − t·fall.
  return a.far + ((a.frr - a.far) / (rise + fall)) * rise;
}

/** Scores on a coarse grid, so that ties within and between kinds are common. */
export const tiedScores = fc.array(
  fc.integer({ min: -8, max: 8 }).map((step) => step / 8),
  { minLength: 1, maxLength: 30 },
);

/** Scores that hardly ever tie. */
export const freeScores = fc.array(
  fc.double({ min: -1, max: 1, noNaN: true }),
  { minLength: 1, maxLength: 30 },
);

/** Both kinds of score sets. */
export const anyScores = fc.oneof(tiedScores, freeScores);

/** Deterministic numbers in (0, 1), good enough to make data from. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Normal deviates (Box and Muller). */
export function normal(seed: number): () => number {
  const next = uniform(seed);
  return () =>
    Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
}

/** Cosine of two rows of [N, D], float64. */
export function cosine(
  data: ArrayLike<number>,
  dim: number,
  i: number,
  j: number,
): number {
  let product = 0;
  let left = 0;
  let right = 0;
  for (let d = 0; d < dim; d += 1) {
    const x = data[i * dim + d]!;
    const y = data[j * dim + d]!;
    product += x * y;
    left += x * x;
    right += y * y;
  }
  return product / Math.sqrt(left * right);
}

/** All scores again, one by one, from highest to lowest. */
export function expand(
  scores: TrialScores,
  kind: 'genuineCounts' | 'impostorCounts',
): number[] {
  return [...scores.thresholds].flatMap((threshold, level) =>
    Array<number>(scores[kind][level]!).fill(threshold),
  );
}

/** Embeddings around one centre for each identity, rows of any length. */
export function embed(rows: number, dim: number, identities: number, seed = 1) {
  const next = normal(seed);
  const centres = Float64Array.from({ length: identities * dim }, next);
  const labels = Int32Array.from(
    { length: rows },
    (_, row) => (row * 7) % identities,
  );
  const data = new Float32Array(rows * dim);
  for (let row = 0; row < rows; row += 1) {
    const size = 0.1 + 10 * Math.abs(next());
    for (let d = 0; d < dim; d += 1) {
      const centre = centres[labels[row]! * dim + d]!;
      data[row * dim + d] = size * (centre + 0.8 * next());
    }
  }
  const embeddings = { data, dims: [rows, dim] };
  return { embeddings, labels, source: { labels } };
}
