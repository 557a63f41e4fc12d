import { describe, expect, it } from 'vitest';
import {
  arcFace,
  combinedMargin,
  cosFaceLossSync,
  entmaxLossSync,
  type LossSpecification,
  type MarginsLike,
  PrototypeHead,
  qMargin,
  qMarginLossSync,
  sgd,
  type Tensor,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import {
  contract,
  expectLoss,
  largestDifference,
  relativeError,
} from './helpers/contract.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import { lossFamilies, lossOnCosines, orders } from './helpers/losses.js';
import { normalTensor, randomLabels, uniform } from './helpers/random.js';
import { referenceRow } from './helpers/reference.js';
import { referenceHead } from './helpers/reference-head.js';

const families = ['qMargin', 'a3m', 'cosFace', 'arcFace'] as const;
const cases = families.flatMap((family) =>
  [...orders, 2.5].map((alpha) => ({ family, alpha })),
);

/** A loss with another margin. */
function withMargin(loss: LossSpecification, margin: number) {
  switch (loss.name) {
    case 'q-margin':
      return { ...loss, measureMargin: margin };
    case 'cosface':
      return { ...loss, cosineMargin: margin };
    default:
      return { ...loss, angularMargin: margin };
  }
}

/** Margins [rows] with 0 among them, and large ones. */
function randomMargins(rows: number, seed: number): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length: rows }, (_, row) =>
    row === 1 ? 0 : 0.6 * next(),
  );
}

/** ∂ℓ/∂m of a row by central differences of the float64 reference. */
function marginSlope(
  loss: LossSpecification,
  margin: number,
  cosines: number[],
  label: number,
  reference: ArrayLike<number> | null,
): number {
  const h = 1e-5;
  const at = (m: number) =>
    referenceRow(withMargin(loss, m), cosines, label, reference).loss;
  return (at(margin + h) - at(margin - h)) / (2 * h);
}

describe.each(cases)('$family, α $alpha', ({ family, alpha }) => {
  const loss = lossFamilies[family](alpha, 12);
  const rows = 7;

  it.each([1, 19, 111, 20_000])('on %d cosines', (classes) => {
    const labels = randomLabels(rows, classes, 3);
    labels[4] = -1;
    const margins = randomMargins(rows, 5);
    margins[4] = Number.NaN;
    const cosines = tensor(
      normalTensor(rows, classes, 7, 0.3).data.map((c) =>
        Math.max(-0.99, Math.min(0.99, c)),
      ),
      [rows, classes],
    );
    const measure = normalTensor(1, classes, 9, 0.5).data.map(Math.exp);
    for (const reference of classes < 1000 ? [null, measure] : [null]) {
      const options = { reference, margins };
      const result = lossOnCosines(loss, cosines, labels, options);
      const upstream = Float32Array.from(labels, (_, row) => 1 + row / 4);
      const mean = result.gradMargins();
      const weighted = result.gradMargins(tensor(upstream, [rows]));
      const gradient = result.backwardSync(tensor(upstream, [rows])).data;
      expect(mean.dims).toEqual([rows]);
      labels.forEach((label, row) => {
        if (label === -1) {
          expect(result.loss.data[row]).toBe(0);
          expect(mean.data[row]).toBe(0);
          expect(weighted.data[row]).toBe(0);
          return;
        }
        const c = [
          ...cosines.data.subarray(row * classes, (row + 1) * classes),
        ];
        const own = withMargin(loss, margins[row]!);
        const expected = referenceRow(own, c, label, reference);
        expectLoss(result.loss.data[row]!, expected.loss);
        const wanted = expected.gradCosines.map((g) => g * upstream[row]!);
        expect(
          largestDifference(
            gradient.subarray(row * classes, (row + 1) * classes),
            wanted,
          ),
        ).toBeLessThanOrEqual(
          contract.gradientPerScale *
            Math.max(12, ...wanted.map(Math.abs)) *
            upstream[row]!,
        );
        if (classes > 1000) return;
        // Central differences in float64 are good to about 1e-9 of the loss over h.
        const slope = marginSlope(loss, margins[row]!, c, label, reference);
        const bound = 2e-5 * Math.max(1, Math.abs(slope), expected.loss);
        expect(Math.abs(mean.data[row]! * 6 - slope)).toBeLessThan(bound);
        expect(
          Math.abs(weighted.data[row]! - slope * upstream[row]!),
        ).toBeLessThan(bound * upstream[row]!);
      });
    }
  });

  it.each([
    ['sparse or dense rows', undefined],
    ['overflowing rows', 0],
  ])('in the head, %s', async (_, budget) => {
    const [identities, dim] = [211, 19];
    const prototypes = normalTensor(identities, dim, 1);
    const embeddings = normalTensor(rows, dim, 2);
    const labels = randomLabels(rows, identities, 3);
    const margins = randomMargins(rows, 5);
    const head = headOf(loss, prototypes, budget);
    const expected = referenceHead(
      loss,
      {
        embeddings: embeddings.data,
        prototypes: prototypes.data,
        labels,
        dim,
      },
      (row) => withMargin(loss, margins[row]!),
    );
    const posterior = head.posteriorSync(embeddings, labels, { margins });
    const evaluated = head.evaluateSync(embeddings, labels, { margins });
    const result = head.stepSync(embeddings, labels, {
      margins: tensor(margins, [rows]),
    });
    expect(evaluated.losses).toEqual(result.losses);
    expect(evaluated.gradMargins).toEqual(result.gradMargins);
    expect(
      relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
    ).toBeLessThanOrEqual(contract.headGradient);
    const moved = (await head.prototypes()).data.map(
      (value, k) => prototypes.data[k]! - value,
    );
    // What float32 keeps of a prototype bounds what can be read off its change.
    expect(
      largestDifference(
        moved,
        expected.gradPrototypes.map((g) => 0.5 * g),
      ),
    ).toBeLessThan(1e-5);
    expected.rows.forEach((row, i) => {
      expectLoss(result.losses[i]!, row.loss);
      const slope = marginSlope(
        loss,
        margins[i]!,
        expected.cosines[i]!,
        labels[i]!,
        null,
      );
      expect(
        Math.abs(result.gradMargins!.data[i]! * rows - slope),
      ).toBeLessThan(2e-5 * Math.max(1, Math.abs(slope), row.loss));
      const dense = new Float64Array(identities);
      for (
        let k = posterior.rowOffsets[i]!;
        k < posterior.rowOffsets[i + 1]!;
        k += 1
      ) {
        dense[posterior.columns[k]!] = posterior.values[k]!;
      }
      expect(largestDifference(dense, row.posterior)).toBeLessThan(
        contract.posterior,
      );
    });
    head.dispose();
  });

  it('the loss’s own margin for every row gives the same bits', () => {
    const margin = Math.fround(0.3);
    const own = withMargin(loss, margin);
    const prototypes = normalTensor(40, 7, 1);
    const [x, y] = [normalTensor(5, 7, 2), randomLabels(5, 40, 3)];
    using head = headOf(own, prototypes);
    using other = headOf(loss, prototypes);
    const margins = new Float32Array(5).fill(margin);
    const a = head.evaluateSync(x, y);
    const b = other.evaluateSync(x, y, { margins });
    expect(b.losses).toEqual(a.losses);
    expect(b.gradEmbeddings).toEqual(a.gradEmbeddings);
    expect(a.gradMargins).toBeNull();
  });
});

function headOf(
  loss: LossSpecification,
  prototypes: Tensor,
  scratchBudget?: number,
): PrototypeHead {
  const [identities, dim] = prototypes.dims as [number, number];
  return new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd({ learningRate: 0.5 }),
    prototypes,
    ...(scratchBudget === undefined ? {} : { scratchBudget }),
  });
}

it('the asynchronous calls take them too', async () => {
  using head = headOf(qMargin({ scale: 8 }), normalTensor(20, 5, 1));
  const [x, y] = [normalTensor(2, 5, 2), Int32Array.of(3, 4)];
  const margins = Float32Array.of(0.1, 0.4);
  const expected = head.evaluateSync(x, y, { margins });
  const evaluated = await head.evaluate(x, y, { margins });
  expect({ ...evaluated, stats: 0 }).toEqual({ ...expected, stats: 0 });
  expect(await head.posterior(x, y, { margins })).toEqual(
    head.posteriorSync(x, y, { margins }),
  );
  const step = await head.step(x, y, { margins });
  expect(step.losses).toEqual(expected.losses);
});

it('plain numbers are rounded to float32', () => {
  using head = headOf(qMargin({ scale: 8 }), normalTensor(20, 5, 1));
  const [x, y] = [normalTensor(2, 5, 2), Int32Array.of(3, 4)];
  const run = (margins: MarginsLike) => {
    const { losses, gradEmbeddings } = head.evaluateSync(x, y, { margins });
    return { losses, gradEmbeddings };
  };
  const margins = [0.1, 0.4];
  const expected = run(Float32Array.from(margins));
  expect(run(margins)).toEqual(expected);
  expect(run(tensor(Float32Array.from(margins), [2]))).toEqual(expected);
});

describe('refuse', () => {
  const file = 'row-margins.test.ts';
  const x = normalTensor(2, 5, 2);
  const y = Int32Array.of(3, 4);
  const cosines = tensor(Float32Array.of(0.1, 0.2, 0.3, 0.4), [2, 2]);
  const head = (loss: LossSpecification) =>
    headOf(loss, normalTensor(20, 5, 1));
  const invalid = 'ERR_INVALID_ARGUMENT';
  const wrong = (value: unknown) => value as TensorLike;
  const calls: BadCall[] = [
    [
      'another number of them',
      () => head(qMargin()).step(x, y, { margins: new Float32Array(3) }),
      invalid,
      /step: .*margins.* 2 margins/,
    ],
    [
      'another type',
      () => head(qMargin()).evaluate(x, y, { margins: wrong([0.1, '0.2']) }),
      invalid,
      /evaluate: .*margins\[1\].*a number.*'0.2'/,
    ],
    [
      'integers',
      () => head(qMargin()).step(x, y, { margins: wrong(Int32Array.of(0, 1)) }),
      invalid,
      /step: .*margins.*Float32Array/,
    ],
    [
      'a negative one',
      () => head(qMargin()).stepSync(x, y, { margins: Float32Array.of(0, -1) }),
      invalid,
      /stepSync: .*margins\[1\].*-1/,
    ],
    [
      'NaN',
      () =>
        cosFaceLossSync(cosines, [0, 1], {
          margins: Float32Array.of(Number.NaN, 0),
        }),
      invalid,
      /margins\[0\].*NaN/,
    ],
    [
      'an angle beyond π',
      () =>
        head(arcFace()).stepSync(x, y, { margins: Float32Array.of(0, 3.2) }),
      invalid,
      /margins\[1\].*π/,
    ],
    [
      'one whose loss would overflow',
      () =>
        qMarginLossSync(cosines, [0, 1], {
          alpha: 2,
          scale: 100,
          margins: Float32Array.of(0.1, 0.9),
        }),
      invalid,
      /margins\[1\].*overflow/,
    ],
    [
      'a loss without a margin',
      () => entmaxLossSync(cosines, [0, 1], { margins: new Float32Array(2) }),
      invalid,
      /entmax.*no margin/,
    ],
    [
      'a loss with several',
      () =>
        head(combinedMargin()).evaluateSync(x, y, {
          margins: new Float32Array(2),
        }),
      invalid,
      /combined.*more than one/,
    ],
    [
      'no labels to go with them',
      () =>
        head(qMargin()).posterior(x, null, { margins: new Float32Array(2) }),
      invalid,
      /margins.*labels/,
    ],
    [
      'to be differentiated when there are none',
      () => qMarginLossSync(cosines, [0, 1]).gradMargins(),
      invalid,
      /gradMargins: .*called with margins/,
    ],
  ];
  it.each(calls)('%s', (...bad) => expectFailure(bad, file));
});
