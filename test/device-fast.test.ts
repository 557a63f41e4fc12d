import { describe, expect, it } from 'vitest';
import { PrototypeHead, type PrototypeHeadOptions, sgd } from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import { filterTiers, onDevice } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';

/*
 * precision 'fast' on a GPU: the filter's cosines, of float16 rows, are the result. How far that is
 * from float64, as docs/devices.md states it; 'exact' beside it is within the contract.
 */

interface Case {
  readonly name: string;
  readonly alpha: number;
  readonly scale: number;
  readonly identities: number;
  readonly dim: number;
  readonly noise: number;
  /** The errors that docs/devices.md states, measured on the emulated device and rounded up. */
  readonly stated: Errors;
}

/** Filters that read float16, of those that the device has. */
const halfFilters = (['mma', 'simt', 'wgmma'] as const).filter((filter) =>
  filterTiers.includes(filter),
);

interface Errors {
  loss: number;
  posterior: number;
  gradient: number;
}

const face = { alpha: 1.25, scale: 32, identities: 989, dim: 512 };
const cases: readonly Case[] = [
  {
    ...{ name: 'faces', ...face, noise: 0.9 },
    stated: { loss: 1.1e-5, posterior: 2.1e-5, gradient: 6.7e-4 },
  },
  {
    ...{ name: 'faces far from their prototypes', ...face, noise: 2 },
    stated: { loss: 3.6e-4, posterior: 2.5e-4, gradient: 2.4e-4 },
  },
  {
    ...{ name: 'speakers', alpha: 1.5, scale: 10, noise: 0.9 },
    ...{ identities: 989, dim: 256 },
    stated: { loss: 8.5e-6, posterior: 3.6e-5, gradient: 5.4e-4 },
  },
  {
    ...{ name: 'narrow faces', ...face, dim: 33, noise: 0.9 },
    stated: { loss: 4.0e-3, posterior: 1.3e-3, gradient: 9.0e-4 },
  },
  {
    ...{ name: 'a sharp posterior', alpha: 2, scale: 64, noise: 1 },
    ...{ identities: 513, dim: 192 },
    stated: { loss: 8.8e-3, posterior: 3.3e-3, gradient: 1.1e-3 },
  },
];

/** Bound of the error of a cosine (native/cuda/head/shadow.cuh), both rows rounded. */
const largestCosineError = (dim: number) =>
  2 * (2 ** -11 + 2 ** -22 + Math.sqrt(dim) * 2 ** -25) * (1 + 2 ** -10) +
  1.01 * (dim + 16) * 2 ** -22;

function problemOf({ alpha, scale, identities, dim, noise }: Case) {
  const loss = lossFamilies.qMargin(alpha, scale);
  const prototypes = normalTensor(identities, dim, 1);
  const labels = randomLabels(19, identities, 2);
  const embeddings = clusteredEmbeddings(prototypes, labels, noise, 3);
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
  });
  const headOf = (options: Partial<PrototypeHeadOptions>) =>
    new PrototypeHead({
      identities,
      dim,
      loss,
      optimizer: sgd({ learningRate: 0.1 }),
      prototypes,
      ...options,
    });
  return { labels, embeddings, expected, headOf };
}

describe.runIf(onDevice)('precision fast', () => {
  it.each(cases)('$name, α $alpha, s $scale, D $dim', (setting) => {
    const { scale, dim, stated } = setting;
    const { headOf, embeddings, labels, expected } = problemOf(setting);
    const worst: Errors = { loss: 0, posterior: 0, gradient: 0 };
    for (const filter of halfFilters) {
      using head = headOf({ precision: 'fast', filter });
      const result = head.evaluateSync(embeddings, labels);
      result.losses.forEach((value, row) => {
        const error = Math.abs(value - expected.rows[row]!.loss);
        worst.loss = Math.max(worst.loss, error);
      });
      const posterior = head.posteriorSync(embeddings, labels);
      expected.rows.forEach(({ posterior: exact }, row) => {
        const dense = new Float64Array(exact.length);
        const [first, last] = posterior.rowOffsets.subarray(row, row + 2);
        for (let i = first!; i < last!; i += 1) {
          dense[posterior.columns[i]!] = posterior.values[i]!;
        }
        exact.forEach((p, j) => {
          worst.posterior = Math.max(worst.posterior, Math.abs(p - dense[j]!));
        });
      });
      worst.gradient = Math.max(
        worst.gradient,
        relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
      );
    }
    expect(worst.loss).toBeLessThanOrEqual(stated.loss);
    expect(worst.posterior).toBeLessThanOrEqual(stated.posterior);
    expect(worst.gradient).toBeLessThanOrEqual(stated.gradient);
    // |∂ℓ/∂c| of the classes but the target sums to s at most, and the target is exact.
    expect(worst.loss).toBeLessThanOrEqual(scale * largestCosineError(dim));
    // It is not the exact path by another name.
    expect(worst.gradient).toBeGreaterThan(contract.headGradient);
    using exact = headOf({ precision: 'exact', filter: halfFilters[0]! });
    const result = exact.evaluateSync(embeddings, labels);
    result.losses.forEach((value, row) => {
      expectLoss(value, expected.rows[row]!.loss);
    });
  });

  // Products of numbers rounded to float16, and exact cosines where posteriors are large.
  it.each([
    ['faces', 0.9, { loss: 2.8e-6, posterior: 3.6e-6, gradient: 2.7e-4 }],
    [
      'faces far from their prototypes',
      2,
      { loss: 1.0e-5, posterior: 7.0e-6, gradient: 1.8e-4 },
    ],
  ] as const)('softmax, %s', (_, noise, stated) => {
    const [identities, dim, batch, scale] = [301, 128, 64, 64];
    const loss = lossFamilies.cosFace(1, scale);
    const prototypes = normalTensor(identities, dim, 1);
    const labels = randomLabels(batch, identities, 2);
    const embeddings = clusteredEmbeddings(prototypes, labels, noise, 3);
    const expected = referenceHead(loss, {
      embeddings: embeddings.data,
      prototypes: prototypes.data,
      labels,
      dim,
    });
    const errorsOf = (precision: 'exact' | 'fast'): Errors => {
      using head = new PrototypeHead({
        ...{ identities, dim, loss, prototypes, precision },
        optimizer: sgd({ learningRate: 0.1 }),
      });
      const result = head.evaluateSync(embeddings, labels);
      const posterior = head.posteriorSync(embeddings, labels);
      const worst: Errors = { loss: 0, posterior: 0, gradient: 0 };
      expected.rows.forEach((row, i) => {
        worst.loss = Math.max(
          worst.loss,
          Math.abs(result.losses[i]! - row.loss),
        );
        const first = posterior.rowOffsets[i]!;
        for (let e = first; e < posterior.rowOffsets[i + 1]!; e += 1) {
          const exact = row.posterior[posterior.columns[e]!]!;
          const error = Math.abs(posterior.values[e]! - exact);
          worst.posterior = Math.max(worst.posterior, error);
        }
      });
      worst.gradient = relativeError(
        result.gradEmbeddings.data,
        expected.gradEmbeddings,
      );
      return worst;
    };
    const fast = errorsOf('fast');
    expect(fast.loss).toBeLessThanOrEqual(stated.loss);
    expect(fast.posterior).toBeLessThanOrEqual(stated.posterior);
    expect(fast.gradient).toBeLessThanOrEqual(stated.gradient);
    // Without tensor cores the products are those of 'exact'.
    if (halfFilters.includes('mma')) {
      expect(fast.gradient).toBeGreaterThan(contract.headGradient);
    }
    expect(errorsOf('exact').gradient).toBeLessThanOrEqual(
      contract.headGradient,
    );
  });

  it('trains, overflows and identifies', () => {
    const { headOf, embeddings, labels } = problemOf(cases[3]!);
    using exact = headOf({});
    using kept = headOf({ precision: 'fast' });
    using streamed = headOf({ precision: 'fast', scratchBudget: 0 });
    const nearest = exact.nearestSync(embeddings, { k: 5 });
    expect(kept.nearestSync(embeddings, { k: 5 })).toEqual(nearest);
    let overflows = 0;
    for (let step = 0; step < 3; step += 1) {
      const expected = exact.stepSync(embeddings, labels);
      const result = kept.stepSync(embeddings, labels);
      expect(Math.abs(result.loss - expected.loss)).toBeLessThan(1e-3);
      const other = streamed.stepSync(embeddings, labels);
      expect(Math.abs(other.loss - expected.loss)).toBeLessThan(1e-3);
      overflows += other.stats.overflowRows;
    }
    expect(overflows).toBeGreaterThan(0);
  });
});
