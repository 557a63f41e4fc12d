import type { LossSpecification, Tensor } from '../../lib/index.js';
import { referenceRow } from './reference.js';
import { referenceCosines } from './reference-head.js';

/** The dense head with sub-centres in float64: the best row of each identity takes part. */
export function referenceSubCentres(
  loss: LossSpecification,
  prototypes: Tensor,
  embeddings: Tensor,
  labels: Int32Array,
  subCentres: number,
  measure: ArrayLike<number> | null,
) {
  const [rows, dim] = prototypes.dims as [number, number];
  const identities = rows / subCentres;
  const unit = (data: ArrayLike<number>, row: number) => {
    const values = Array.from({ length: dim }, (_, k) => data[row * dim + k]!);
    const norm = Math.hypot(...values);
    return { norm, values: values.map((value) => value / norm) };
  };
  const gradEmbeddings = new Float64Array(labels.length * dim);
  const gradPrototypes = new Float64Array(rows * dim);
  const all = referenceCosines(embeddings.data, prototypes.data, dim);
  const counted = labels.filter((label) => label !== -1).length;
  const solved = all.map((cosines, i) => {
    if (labels[i] === -1) return null;
    const winners = Array.from({ length: identities }, (_, identity) => {
      let best = identity * subCentres;
      for (let k = 1; k < subCentres; k += 1) {
        const row = identity * subCentres + k;
        if (cosines[row]! > cosines[best]!) best = row;
      }
      return best;
    });
    const own = winners.map((row) => cosines[row]!);
    const result = referenceRow(loss, own, labels[i]!, measure);
    const x = unit(embeddings.data, i);
    result.gradCosines.forEach((gradient, identity) => {
      const row = winners[identity]!;
      const w = unit(prototypes.data, row);
      const g = gradient / counted;
      for (let k = 0; k < dim; k += 1) {
        gradEmbeddings[i * dim + k]! +=
          (g * (w.values[k]! - own[identity]! * x.values[k]!)) / x.norm;
        gradPrototypes[row * dim + k]! +=
          (g * (x.values[k]! - own[identity]! * w.values[k]!)) / w.norm;
      }
    });
    return result;
  });
  return { solved, gradEmbeddings, gradPrototypes };
}
