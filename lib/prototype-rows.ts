import { roomFor } from './errors.js';
import type { NativeHead } from './native.js';
import type { Matrix } from './tensor.js';

/** The rows of prototypes that identities have: `subCentres` each, one after another. */
export function rowsOf(identities: Int32Array, subCentres: number): Int32Array {
  return Int32Array.from(
    { length: identities.length * subCentres },
    (_, place) =>
      identities[Math.floor(place / subCentres)]! * subCentres +
      (place % subCentres),
  );
}

/** Copies the prototypes of identities (null: all) out of a head. */
export function readPrototypeRows(
  name: string,
  head: NativeHead,
  sizes: {
    readonly identities: number;
    readonly dim: number;
    readonly subCentres: number;
  },
  chosen: Int32Array | null,
): Matrix {
  const { identities, dim, subCentres } = sizes;
  const count = (chosen?.length ?? identities) * subCentres;
  const width = subCentres * dim;
  const data = roomFor(name, () => new Float32Array(count * dim));
  if (chosen === null) head.readRows('prototypes', 0, data);
  chosen?.forEach((identity, index) => {
    const place = data.subarray(index * width, (index + 1) * width);
    head.readRows('prototypes', identity * subCentres, place);
  });
  return { type: 'float32', data, dims: [count, dim] };
}
