import type { LossSpecification } from '../../lib/index.js';
import { type ReferenceRow, referenceRow } from './reference.js';

/** A dense head's inputs, as arrays of any number type. */
export interface ReferenceHeadInputs {
  readonly embeddings: ArrayLike<number>;
  readonly prototypes: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  readonly dim: number;
  readonly reference?: ArrayLike<number> | null;
}

/** Losses and gradients of the mean loss, all dense and in float64. */
export interface ReferenceHead {
  readonly loss: number;
  readonly rows: ReferenceRow[];
  readonly cosines: number[][];
  readonly gradEmbeddings: Float64Array;
  readonly gradPrototypes: Float64Array;
}

/** Unit rows [n][D] and their norms [n]. */
function unitRows(values: ArrayLike<number>, dim: number) {
  const rows: Float64Array[] = [];
  const norms: number[] = [];
  for (let start = 0; start < values.length; start += dim) {
    const row = Float64Array.from(
      { length: dim },
      (_, k) => values[start + k]!,
    );
    const norm = Math.sqrt(row.reduce((total, value) => total + value ** 2, 0));
    rows.push(row.map((value) => value / norm));
    norms.push(norm);
  }
  return { rows, norms };
}

function dot(a: Float64Array, b: Float64Array): number {
  let total = 0;
  for (let k = 0; k < a.length; k += 1) total += a[k]! * b[k]!;
  return Math.min(1, Math.max(-1, total));
}

/** Cosines [B][C] of raw embeddings with raw prototypes. */
export function referenceCosines(
  embeddings: ArrayLike<number>,
  prototypes: ArrayLike<number>,
  dim: number,
): number[][] {
  const w = unitRows(prototypes, dim).rows;
  return unitRows(embeddings, dim).rows.map((x) => w.map((row) => dot(x, row)));
}

/**
 * ∂x_i = (1/‖x_i‖) Σ_j g_ij (ŵ_j − c_ij x̂_i) and ∂w_j = (1/‖w_j‖) Σ_i g_ij (x̂_i − c_ij ŵ_j)
 * with g = ∂(mean loss)/∂c.
 */
export function referenceHead(
  loss: LossSpecification,
  inputs: ReferenceHeadInputs,
  lossOf: (row: number) => LossSpecification = () => loss,
): ReferenceHead {
  const { dim, labels } = inputs;
  const x = unitRows(inputs.embeddings, dim);
  const w = unitRows(inputs.prototypes, dim);
  const cosines = x.rows.map((row) => w.rows.map((other) => dot(row, other)));
  const rows = cosines.map((row, i) =>
    referenceRow(lossOf(i), row, labels[i]!, inputs.reference ?? null),
  );
  const gradEmbeddings = new Float64Array(x.rows.length * dim);
  const gradPrototypes = new Float64Array(w.rows.length * dim);
  rows.forEach((row, i) => {
    row.gradCosines.forEach((gradient, j) => {
      const g = gradient / rows.length;
      if (g === 0) return;
      const c = cosines[i]![j]!;
      for (let k = 0; k < dim; k += 1) {
        const [xk, wk] = [x.rows[i]![k]!, w.rows[j]![k]!];
        gradEmbeddings[i * dim + k]! += (g * (wk - c * xk)) / x.norms[i]!;
        gradPrototypes[j * dim + k]! += (g * (xk - c * wk)) / w.norms[j]!;
      }
    });
  });
  const loss_ = rows.reduce((total, row) => total + row.loss, 0) / rows.length;
  return { loss: loss_, rows, cosines, gradEmbeddings, gradPrototypes };
}
