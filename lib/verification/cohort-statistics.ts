import { backendOf } from '../native.js';

/**
 * Cosines that one call of the addon returns at most, unless one row has more. More take its lists of
 * candidates to hundreds of megabytes and save no time.
 */
const COSINES_PER_CALL = 2 ** 18;

/** Mean and deviation of the largest cohort cosines of each row [N]. */
export interface CohortStatistics {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
}

/**
 * μ and σ of the `top` largest cosines between each query and the cohort,
 *
 *     μ = 1/n Σ c_k,   σ² = 1/n Σ (c_k − μ)²,   n = top
 *
 * σ is that of a population, as in numpy.std: nothing is estimated from the n cosines. The cosines are
 * the exact nearest of a head on the CPU (float32 from float64); sums are float64. Equal cosines
 * have a σ of exactly 0. Memory: the cohort with its copy in bytes, and the cosines of one call.
 *
 * @param queries [N, dim], float32 or float16 as bits.
 * @param cohort [M, dim].
 * @param top In [1, M].
 */
export async function cohortStatistics(
  queries: Float32Array | Uint16Array,
  cohort: Float32Array,
  dim: number,
  top: number,
  cancel: Int32Array,
): Promise<CohortStatistics> {
  const rows = queries.length / dim;
  const mean = new Float64Array(rows);
  const deviation = new Float64Array(rows);
  const step = Math.max(1, Math.floor(COSINES_PER_CALL / top));
  const room = Math.min(step, rows) * top;
  const cosines = new Float32Array(room);
  const members = new Int32Array(room);
  const head = makeCohort(cohort, dim);
  try {
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      await head.nearest(
        queries.subarray(first * dim, (first + count) * dim),
        top,
        members.subarray(0, count * top),
        cosines.subarray(0, count * top),
        cancel,
      );
      for (let row = 0; row < count; row += 1) {
        const own = cosines.subarray(row * top, (row + 1) * top);
        const average = own.reduce((sum, cosine) => sum + cosine, 0) / top;
        const squares = own.reduce(
          (sum, cosine) => sum + (cosine - average) ** 2,
          0,
        );
        mean[first + row] = average;
        deviation[first + row] = Math.sqrt(squares / top);
      }
    }
  } finally {
    head.dispose();
  }
  return { mean, deviation };
}

/** A head whose prototypes are the cohort; it is never trained. */
function makeCohort(cohort: Float32Array, dim: number) {
  const members = cohort.length / dim;
  const head = backendOf('cpu').makeHead(
    members,
    dim,
    0, // seed of prototypes that are replaced before they are made
    null, // reference measure
    0, // scratch of losses, of a call
    0, // and of a row
    true, // the filter's copy in bytes
    1, // sub-centres
    'auto', // filter
    false, // exact
  );
  try {
    head.setPrototypes(null, cohort);
  } catch (cause) {
    head.dispose();
    throw cause;
  }
  return head;
}
