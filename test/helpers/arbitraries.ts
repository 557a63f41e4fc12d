import { fc } from '@fast-check/vitest';
import { type Tensor, tensor } from '../../lib/index.js';

/** Settings of every property: few runs, but a new seed every time, printed on failure. */
export const quick = { numRuns: 60 } as const;

/** Orders of all kinds: softmax, near it, whole and broken exponents, beyond sparsemax. */
export const anyOrder = fc.oneof(
  fc.constantFrom(1, 1.25, 4 / 3, 1.5, 2),
  fc.double({ min: 1.001, max: 2, noNaN: true }),
  fc.constantFrom(2.5, 3, 10),
);

/** Orders of the published settings. */
export const usualOrder = fc.constantFrom(1.1, 1.25, 1.5, 1.75, 2);

function float32(limit: number) {
  return fc.double({ min: -limit, max: limit, noNaN: true }).map(Math.fround);
}

/** Rows of float32 numbers within ±limit; equal neighbours, ±0 and whole numbers are common. */
function row(columns: number, limit: number) {
  const value = fc.oneof(
    { weight: 4, arbitrary: float32(limit) },
    { weight: 1, arbitrary: fc.constantFrom(0, -0, limit, -limit, limit / 2) },
  );
  return fc.array(value, { minLength: columns, maxLength: columns });
}

/** A tensor [1 … rows, 1 … columns]. */
export function anyTensor(rows: number, columns: number, limit: number) {
  return fc
    .tuple(
      fc.integer({ min: 1, max: rows }),
      fc.integer({ min: 1, max: columns }),
    )
    .chain(([height, width]) =>
      fc
        .array(row(width, limit), { minLength: height, maxLength: height })
        .map(
          (values): Tensor =>
            tensor(Float32Array.from(values.flat()), [height, width]),
        ),
    );
}

/** Cosines [B, C] with a label for each row. */
export function anyLabelledCosines(rows: number, columns: number) {
  return anyTensor(rows, columns, 1).chain((cosines) => {
    const [height, width] = cosines.dims as [number, number];
    return fc.record({
      cosines: fc.constant(cosines),
      labels: fc
        .array(fc.integer({ min: 0, max: width - 1 }), {
          minLength: height,
          maxLength: height,
        })
        .map((labels) => Int32Array.from(labels)),
    });
  });
}

/** Measures [count] between 1/8 and 8. */
export function anyMeasure(count: number) {
  return fc
    .array(fc.double({ min: -3, max: 3, noNaN: true }), {
      minLength: count,
      maxLength: count,
    })
    .map((exponents) => Float32Array.from(exponents, (e) => 2 ** e));
}

/** Rows of a tensor as plain arrays. */
export function rowsOf(value: Tensor): number[][] {
  const [rows, columns] = value.dims as [number, number];
  return Array.from({ length: rows }, (_, i) => [
    ...value.data.subarray(i * columns, (i + 1) * columns),
  ]);
}
