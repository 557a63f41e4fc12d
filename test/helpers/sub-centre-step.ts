import { expect } from 'vitest';
import {
  type LossSpecification,
  PrototypeHead,
  type PrototypeHeadOptions,
  sgd,
  type Tensor,
} from '../../lib/index.js';
import {
  contract,
  expectLoss,
  largestDifference,
  relativeError,
} from './contract.js';
import { referenceSubCentres } from './reference-sub-centres.js';
import { expectUpdate, largeLearningRate } from './updates.js';

/**
 * A step of a head with K sub-centres and the update it makes are those of the float64 reference, and
 * so is the posterior before it; evaluation gives the step's bits.
 */
export async function expectSubCentreStep(
  loss: LossSpecification,
  prototypes: Tensor,
  embeddings: Tensor,
  labels: Int32Array,
  subCentres: number,
  options: Omit<Partial<PrototypeHeadOptions>, 'reference'> & {
    reference?: Float32Array;
  } = {},
) {
  const [rows, dim] = prototypes.dims as [number, number];
  const identities = rows / subCentres;
  const expected = referenceSubCentres(
    loss,
    prototypes,
    embeddings,
    labels,
    subCentres,
    options.reference ?? null,
  );
  const learningRate = largeLearningRate(expected.gradPrototypes);
  using head = new PrototypeHead({
    identities,
    dim,
    subCentres,
    loss,
    optimizer: sgd({ learningRate }),
    prototypes,
    ...options,
  });
  expect(head.subCentres).toBe(subCentres);
  const posterior = head.posteriorSync(embeddings, labels);
  const evaluated = head.evaluateSync(embeddings, labels);
  const result = head.stepSync(embeddings, labels);
  expect(evaluated.losses).toEqual(result.losses);
  expect(evaluated.gradEmbeddings).toEqual(result.gradEmbeddings);
  expected.solved.forEach((row, i) => {
    expectLoss(result.losses[i]!, row?.loss ?? 0);
    const dense = new Float64Array(identities);
    const last = posterior.rowOffsets[i + 1]!;
    for (let k = posterior.rowOffsets[i]!; k < last; k += 1) {
      dense[posterior.columns[k]!]! += posterior.values[k]!;
      if (k > posterior.rowOffsets[i]!) {
        expect(posterior.columns[k]).toBeGreaterThan(posterior.columns[k - 1]!);
      }
    }
    expect(
      largestDifference(dense, row?.posterior ?? new Float64Array(identities)),
    ).toBeLessThanOrEqual(contract.posterior);
    if (row === null) expect(result.supportSize[i]).toBe(0);
    else {
      const certain = row.posterior.filter((p) => p > 1e-6).length;
      const possible = row.posterior.filter((p) => p > 0).length;
      expect(result.supportSize[i]).toBeGreaterThanOrEqual(certain);
      expect(result.supportSize[i]).toBeLessThanOrEqual(
        Math.max(certain, possible) + 1,
      );
    }
  });
  expect(
    relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
  ).toBeLessThanOrEqual(contract.headGradient);
  const moved = await expectUpdate(
    head,
    prototypes,
    expected.gradPrototypes,
    learningRate,
  );
  // Whatever is not the best of its identity for any row keeps its bits.
  const strayed = moved.filter(
    (step, k) => expected.gradPrototypes[k] === 0 && step !== 0,
  );
  expect(strayed).toHaveLength(0);
  return result;
}
