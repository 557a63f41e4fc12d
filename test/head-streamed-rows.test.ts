import { describe, expect, it } from 'vitest';
import {
  type LossSpecification,
  PrototypeHead,
  sgd,
  type Tensor,
  tensor,
} from '../lib/index.js';
import {
  contract,
  expectLoss,
  largestDifference,
  relativeError,
} from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
  uniform,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';

/*
 * Rows that stream through all classes (softmax, and those that overflow) are within the contract
 * where it is hard: posteriors shared by classes that are nearly alike at a large scale, orders next
 * to 1, thresholds far below a unit of the cosines.
 */

interface Problem {
  readonly loss: LossSpecification;
  readonly prototypes: Tensor;
  readonly embeddings: Tensor;
  readonly labels: Int32Array;
  readonly reference?: Float32Array;
}

/** Losses, posteriors and ∂embeddings of streamed rows next to float64. */
function compare({ loss, prototypes, embeddings, labels, reference }: Problem) {
  const [identities, dim] = prototypes.dims as [number, number];
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
    ...(reference && { reference }),
  });
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd(),
    prototypes,
    scratchBudget: 0,
    ...(reference && { reference }),
  });
  const result = head.evaluateSync(embeddings, labels);
  const posterior = head.posteriorSync(embeddings, labels);
  return {
    expected,
    result,
    streamed: loss.alpha === 1 ? labels.length : result.stats.overflowRows,
    posteriorOf(row: number) {
      const dense = new Float64Array(identities);
      const [first, last] = posterior.rowOffsets.subarray(row, row + 2);
      for (let i = first!; i < last!; i += 1) {
        dense[posterior.columns[i]!] = posterior.values[i]!;
      }
      return dense;
    },
  };
}

/** Rows around one direction. */
function nearlyAlike(rows: number, dim: number, noise: number, seed: number) {
  const base = normalTensor(1, dim, 7).data;
  const own = normalTensor(rows, dim, seed, noise);
  own.data.forEach((value, i) => {
    own.data[i] = value + base[i % dim]!;
  });
  return own;
}

/** Every row within the contract. */
function expectContract({
  expected,
  result,
  posteriorOf,
}: ReturnType<typeof compare>) {
  expected.rows.forEach((row, i) => {
    expectLoss(result.losses[i]!, row.loss);
    expect(
      largestDifference(posteriorOf(i), row.posterior),
    ).toBeLessThanOrEqual(contract.posterior);
  });
}

describe('classes that are nearly alike', () => {
  it.each([
    [1, 10, 64],
    [1, 64, 64],
    [1, 64, 300],
    [1, 100, 64],
    [1.05, 64, 64],
    [1.25, 64, 64],
    [1.5, 32, 64],
    [2, 10, 64],
    [2, 32, 111],
  ])('α %s, s %s, D %s', (alpha, scale, dim) => {
    const problem = {
      loss: lossFamilies.cosFace(alpha, scale),
      prototypes: nearlyAlike(211, dim, 0.2, 1),
      embeddings: nearlyAlike(5, dim, 0.2, 2),
      labels: randomLabels(5, 211, 3),
    };
    const compared = compare(problem);
    const { expected, result } = compared;
    expect(compared.streamed).toBe(5);
    expectContract(compared);
    expect(
      relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
    ).toBeLessThanOrEqual(contract.headGradient);
  });

  // The penalty takes cosines above 1, where float32 has a digit less: rounded once they are within
  // the contract, rounded twice they are not. Two classes share the posterior of every row.
  it('with the inter-top-K penalty', () => {
    const rivals = nearlyAlike(2, 64, 1e-3, 1);
    const compared = compare({
      loss: {
        ...lossFamilies.cosFace(1, 64),
        interTopK: 2,
        interTopKPenalty: 0.3,
      },
      prototypes: tensor(
        Float32Array.of(...rivals.data, ...normalTensor(1, 64, 5).data),
        [3, 64],
      ),
      embeddings: nearlyAlike(400, 64, 0.3, 2),
      labels: new Int32Array(400).fill(2),
    });
    expectContract(compared);
  });

  // Nothing but the rounding of their cosines tells these from one another.
  it.each([32, 64, 128, 200])('two equal prototypes, s %s', (scale) => {
    for (let seed = 1; seed < 20; seed += 1) {
      const row = normalTensor(1, 64, seed);
      const { result, posteriorOf } = compare({
        loss: lossFamilies.entmaxHead(1, scale),
        prototypes: tensor(Float32Array.of(...row.data, ...row.data), [2, 64]),
        embeddings: row,
        labels: Int32Array.of(0),
      });
      expectLoss(result.losses[0]!, Math.LN2);
      expect(largestDifference(posteriorOf(0), [0.5, 0.5])).toBeLessThanOrEqual(
        contract.posterior,
      );
    }
  });
});

describe('orders next to 1', () => {
  it.each([1 + 1e-8, 1 + 1e-7, 1 + 1e-6, 1.0001, 1.01])('α %s', (alpha) => {
    const compared = compare({
      loss: lossFamilies.qMargin(alpha, 32),
      prototypes: normalTensor(501, 24, 1),
      embeddings: normalTensor(5, 24, 2),
      labels: randomLabels(5, 501, 3),
    });
    expect(compared.streamed).toBe(5);
    expectContract(compared);
  });
});

describe('steep orders with measures', () => {
  // 299 classes alike: the root is (299 q)^(1−α), far below the last digit of a cosine.
  it.each([
    [2.5, 2 ** 16],
    [3, 2 ** 16],
    [4, 2 ** 10],
    [4, 2 ** 16],
  ])('α %s, q %s everywhere', (alpha, measure) => {
    const identities = 300;
    const { expected, result, streamed } = compare({
      loss: lossFamilies.entmaxHead(alpha, 64),
      prototypes: tensor(
        Float32Array.from({ length: 2 * identities }, (_, i) =>
          i < 2 ? i : [0.8, 0.6][i % 2]!,
        ),
        [identities, 2],
      ),
      embeddings: tensor(Float32Array.of(1, 0), [1, 2]),
      labels: Int32Array.of(0),
      reference: new Float32Array(identities).fill(measure),
    });
    expect(streamed).toBe(1);
    expectLoss(result.losses[0]!, expected.rows[0]!.loss);
  });

  it.each([2.5, 3, 4])('α %s, q between 2^-16 and 2^16', (alpha) => {
    const identities = 20;
    let streamed = 0;
    for (let seed = 1; seed < 60; seed += 1) {
      const next = uniform(seed);
      const between = (low: number, high: number) =>
        low + next() * (high - low);
      const angle = between(0.3, 1);
      const gap = 10 ** between(-7, -3);
      // The target, its rival, and all others alike.
      const angles = [1.5, angle - gap, ...new Array(18).fill(angle)];
      const { expected, result, ...own } = compare({
        loss: lossFamilies.cosFace(alpha, 97),
        prototypes: tensor(
          Float32Array.from(
            angles.flatMap((phi) => [Math.cos(phi), Math.sin(phi)]),
          ),
          [identities, 2],
        ),
        embeddings: tensor(Float32Array.of(1, 0), [1, 2]),
        labels: Int32Array.of(0),
        reference: Float32Array.from(
          { length: identities },
          () => 2 ** between(-16, 16),
        ),
      });
      streamed += own.streamed;
      expectLoss(result.losses[0]!, expected.rows[0]!.loss);
    }
    expect(streamed).toBeGreaterThan(20);
  });
});

describe('how many rows stream at a time', () => {
  // Classes come in chunks, on a GPU in smaller ones for 8 rows of this width than for one. Rows are
  // near classes that are not theirs: small coefficients beside large ones.
  const cases: [string, LossSpecification][] = [
    ['softmax', lossFamilies.cosFace(1, 16)],
  ];
  // The emulated device would take a minute.
  if (!onDevice) cases.push(['overflow', lossFamilies.qMargin(1.1, 8)]);
  it.each(cases)('changes no bit of a row: %s', (_, loss) => {
    const [identities, dim, batch] = [8500, 700, 8];
    const prototypes = normalTensor(identities, dim, 1);
    using head = new PrototypeHead({
      identities,
      dim,
      loss,
      optimizer: sgd(),
      prototypes,
      scratchBudget: 0,
    });
    const near = randomLabels(batch, identities, 2);
    const embeddings = clusteredEmbeddings(prototypes, near, 0.3, 3);
    const labels = randomLabels(batch, identities, 4);
    const all = head.evaluateSync(embeddings, labels);
    if (loss.alpha > 1) expect(all.stats.overflowRows).toBe(batch);
    for (const row of [0, 3, 7]) {
      const [first, end] = [row * dim, (row + 1) * dim];
      const alone = head.evaluateSync(
        tensor(embeddings.data.slice(first, end), [1, dim]),
        labels.slice(row, row + 1),
      );
      expect(alone.losses[0]).toBe(all.losses[row]);
      // Means over 1 row and over 8: the factor between them is exact.
      const gradient = all.gradEmbeddings.data.slice(first, end);
      expect(alone.gradEmbeddings.data).toEqual(gradient.map((g) => g * batch));
    }
  });
});
