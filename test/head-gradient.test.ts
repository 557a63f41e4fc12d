import { describe, expect, it } from 'vitest';
import {
  type LossSpecification,
  PrototypeHead,
  sgd,
  type Tensor,
} from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import {
  familiesAndOrders,
  familyNames,
  lossFamilies,
  orders,
} from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { type ReferenceHead, referenceHead } from './helpers/reference-head.js';

interface Problem {
  readonly loss: LossSpecification;
  readonly prototypes: Tensor;
  readonly embeddings: Tensor;
  readonly labels: Int32Array;
  readonly reference?: Float32Array | null;
}

/**
 * Checks losses, ∂x and ∂w of one step against the float64 reference. ∂w is read off an update:
 * a learning rate that makes it a thousand times as large as the prototypes hides their rounding.
 */
async function expectGradients(problem: Problem): Promise<ReferenceHead> {
  const { loss, prototypes, embeddings, labels, reference = null } = problem;
  const [identities, dim] = prototypes.dims as [number, number];
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
    reference,
  });
  const norm = Math.sqrt(
    expected.gradPrototypes.reduce((total, value) => total + value ** 2, 0),
  );
  const learningRate = norm === 0 ? 1 : (1000 * Math.sqrt(identities)) / norm;
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd({ learningRate }),
    prototypes,
    reference,
  });
  const result = head.stepSync(embeddings, labels);
  result.losses.forEach((received, row) => {
    expectLoss(received, expected.rows[row]!.loss);
  });
  const updated = (await head.prototypes()).data;
  const gradPrototypes = Float64Array.from(
    updated,
    (value, k) => (prototypes.data[k]! - value) / learningRate,
  );
  if (dim === 1) {
    // A direction on a line cannot turn: ∂x and ∂w are 0, up to the rounding of their terms g/‖·‖.
    const largest = (values: Iterable<number>) =>
      [...values].reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const terms = largest(expected.rows.flatMap((row) => row.gradCosines));
    const bound = contract.headGradient * terms;
    const lengths = [embeddings.data, prototypes.data].map((rows) =>
      Math.min(...rows.map(Math.abs)),
    );
    expect(largest(result.gradEmbeddings.data) * lengths[0]!).toBeLessThan(
      bound + Number.MIN_VALUE,
    );
    expect(largest(gradPrototypes) * lengths[1]!).toBeLessThan(
      bound + Number.MIN_VALUE,
    );
    return expected;
  }
  expect(
    relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
  ).toBeLessThanOrEqual(contract.headGradient);
  expect(
    relativeError(gradPrototypes, expected.gradPrototypes),
  ).toBeLessThanOrEqual(contract.headGradient);
  return expected;
}

/** Random directions, or embeddings near their prototypes when `noise` is given. */
function problemOf(
  loss: LossSpecification,
  [batch, identities, dim]: readonly [number, number, number],
  noise?: number,
): Problem {
  const prototypes = normalTensor(identities, dim, 11 + dim);
  const labels = randomLabels(batch, identities, 13);
  const embeddings =
    noise === undefined
      ? normalTensor(batch, dim, 17 + identities)
      : clusteredEmbeddings(prototypes, labels, noise, 17);
  return { loss, prototypes, embeddings, labels };
}

describe.each(familiesAndOrders)('$family, α $alpha', ({ family, alpha }) => {
  const loss = lossFamilies[family](alpha, 32);

  it('random embeddings', async () => {
    const head = await expectGradients(problemOf(loss, [19, 111, 19]));
    expect(head.loss).toBeGreaterThan(1);
  });

  it('embeddings near their prototypes', async () => {
    await expectGradients(problemOf(loss, [19, 111, 19], 0.9));
  });

  it('with a reference measure', async () => {
    const problem = problemOf(loss, [5, 31, 7]);
    const reference = normalTensor(1, 31, 23).data.map(Math.exp);
    await expectGradients({ ...problem, reference });
  });
});

describe.each(orders)('every size, α %d', (alpha) => {
  it.each([
    [1, 1, 1],
    [1, 1, 19],
    [1, 2, 2],
    [19, 19, 1],
    [1, 989, 19],
    [2, 1025, 3],
    [19, 989, 111],
    [111, 19, 111],
    [33, 257, 513],
  ] as const)('B %d, C %d, D %d', async (...sizes) => {
    for (const family of ['qMargin', 'arcFace'] as const) {
      await expectGradients(problemOf(lossFamilies[family](alpha, 32), sizes));
    }
  });
});

describe('other settings', () => {
  it.each(familyNames)('%s at scale 64, α 1', async (family) => {
    await expectGradients(
      problemOf(lossFamilies[family](1, 64), [19, 989, 64]),
    );
  });

  it.each(orders)('a detached margin, α %d', async (alpha) => {
    for (const family of ['a3m', 'arcFace', 'combinedMargin'] as const) {
      const attached = lossFamilies[family](alpha, 32);
      const detached = { ...attached, detachMargin: true };
      const sizes = [19, 111, 19] as const;
      const a = await expectGradients(problemOf(attached, sizes));
      const b = await expectGradients(problemOf(detached, sizes));
      expect(relativeError(a.gradPrototypes, b.gradPrototypes)).toBeGreaterThan(
        1e-3,
      );
    }
  });

  it.each([1.05, 1.1, 1.0001, 3, 10])('α %d', async (alpha) => {
    for (const family of ['qMargin', 'cosFace', 'a3m'] as const) {
      await expectGradients(
        problemOf(lossFamilies[family](alpha, 4), [5, 111, 19]),
      );
    }
  });

  it('rows beyond an angle of π', async () => {
    const problem = problemOf(lossFamilies.arcFace(1.25, 32), [5, 19, 3]);
    const labels = problem.labels.map(() => 0);
    const { data, dims } = problem.prototypes;
    const opposite = Float32Array.from({ length: 15 }, (_, k) => {
      return -data[k % 3]! + 0.1 * Math.sin(k);
    });
    const head = await expectGradients({
      ...problem,
      labels,
      embeddings: { ...problem.embeddings, data: opposite },
    });
    expect(dims).toEqual([19, 3]);
    expect(head.cosines.every(([c]) => c! < -Math.cos(0.5))).toBe(true);
  });
});
