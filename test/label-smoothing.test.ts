import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  arcFace,
  arcFaceLossSync,
  combinedMargin,
  cosFace,
  cosFaceLossSync,
  type LossSpecification,
  PrototypeHead,
  sgd,
  tensor,
} from '../lib/index.js';
import {
  anyLabelledCosines,
  anyMeasure,
  quick,
  rowsOf,
} from './helpers/arbitraries.js';
import {
  contract,
  expectLoss,
  largestDifference,
  relativeError,
} from './helpers/contract.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import { normalTensor, randomLabels } from './helpers/random.js';
import { referenceRow } from './helpers/reference.js';
import { referenceHead } from './helpers/reference-head.js';
import { expectUpdate, largeLearningRate } from './helpers/updates.js';

const anySmoothing = fc.constantFrom(0.01, 0.1, 0.5, 0.99);

/** (1−ε)·CE(y) + (ε/C)·Σ_j CE(j) from the definition, CE(j) = log Σ exp θ − θ_j. */
function smoothed(theta: number[], label: number, epsilon: number): number {
  const largest = Math.max(...theta);
  const total =
    largest +
    Math.log(theta.reduce((sum, t) => sum + Math.exp(t - largest), 0));
  const entropies = theta.map((t) => total - t);
  const mean = entropies.reduce((sum, e) => sum + e, 0) / theta.length;
  return (1 - epsilon) * entropies[label]! + epsilon * mean;
}

test.prop([anyLabelledCosines(4, 24), anySmoothing], quick)(
  'is PyTorch’s definition',
  ({ cosines, labels }, labelSmoothing) => {
    const options = { scale: 16, margin: 0.2, labelSmoothing };
    const { loss } = cosFaceLossSync(cosines, labels, options);
    rowsOf(cosines).forEach((row, i) => {
      const label = labels[i]!;
      const theta = row.map((c, j) => 16 * (j === label ? c - 0.2 : c));
      expectLoss(loss.data[i]!, smoothed(theta, label, labelSmoothing));
    });
  },
);

test.prop(
  [
    anyLabelledCosines(3, 12).chain((batch) =>
      fc.record({
        batch: fc.constant(batch),
        reference: fc.option(anyMeasure(batch.cosines.dims[1]!)),
      }),
    ),
    anySmoothing,
    fc.constantFrom('cosFace', 'arcFace'),
  ],
  quick,
)(
  'has the gradient of central differences, with a reference too',
  ({ batch: { cosines, labels }, reference }, labelSmoothing, family) => {
    const options = { scale: 10, margin: 0.2, labelSmoothing };
    const loss = family === 'cosFace' ? cosFace(options) : arcFace(options);
    const call = family === 'cosFace' ? cosFaceLossSync : arcFaceLossSync;
    const result = call(cosines, labels, { ...options, reference });
    const ones = new Float32Array(labels.length).fill(1);
    const gradient = rowsOf(result.backwardSync(tensor(ones, [ones.length])));
    rowsOf(cosines).forEach((row, i) => {
      const expected = referenceRow(loss, row, labels[i]!, reference);
      expectLoss(result.loss.data[i]!, expected.loss);
      const largest = Math.max(10, ...expected.gradCosines.map(Math.abs));
      expect(
        largestDifference(gradient[i]!, expected.gradCosines),
      ).toBeLessThanOrEqual(contract.gradientPerScale * largest);
      row.forEach((c, j) => {
        // Near ±1 the angle has no derivative to compare with.
        if (Math.abs(c) > 0.99) return;
        const h = 1e-5;
        const at = (value: number) =>
          referenceRow(loss, row.with(j, value), labels[i]!, reference).loss;
        const slope = (at(c + h) - at(c - h)) / (2 * h);
        expect(Math.abs(expected.gradCosines[j]! - slope)).toBeLessThan(
          1e-4 * largest,
        );
      });
    });
  },
);

const losses: [string, LossSpecification][] = [
  ['CosFace', cosFace({ scale: 16, margin: 0.3, labelSmoothing: 0.1 })],
  ['ArcFace', arcFace({ scale: 16, margin: 0.4, labelSmoothing: 0.2 })],
  [
    'combined margins',
    combinedMargin({ scale: 16, m2: 0.2, m3: 0.1, labelSmoothing: 0.1 }),
  ],
  // A scale at which softmax alone would leave rows without any gradient.
  ['a large scale', cosFace({ scale: 2000, margin: 0, labelSmoothing: 0.1 })],
];

describe.each(losses)('%s in the head', (name, loss) => {
  it.each([
    [1, 1, 19],
    [1, 2, 2],
    [19, 111, 19],
    [5, 5000, 7],
  ] as const)('B %d, C %d, D %d', async (rows, identities, dim) => {
    const prototypes = normalTensor(identities, dim, 1);
    const embeddings = normalTensor(rows, dim, 2);
    const labels = randomLabels(rows, identities, 3);
    if (name === 'a large scale' && identities > 1) {
      // The own prototype itself.
      labels.forEach((label, row) => {
        embeddings.data.set(
          prototypes.data.subarray(label * dim, (label + 1) * dim),
          row * dim,
        );
      });
    }
    for (const reference of [
      null,
      normalTensor(1, identities, 5, 0.5).data.map(Math.exp),
    ]) {
      const expected = referenceHead(loss, {
        embeddings: embeddings.data,
        prototypes: prototypes.data,
        labels,
        dim,
        reference,
      });
      const learningRate = largeLearningRate(expected.gradPrototypes);
      using head = new PrototypeHead({
        identities,
        dim,
        loss,
        optimizer: sgd({ learningRate }),
        prototypes,
        reference,
      });
      const evaluated = head.evaluateSync(embeddings, labels);
      const result = head.stepSync(embeddings, labels);
      expect(evaluated.losses).toEqual(result.losses);
      expected.rows.forEach((row, i) => {
        expectLoss(result.losses[i]!, row.loss);
      });
      if (identities === 1) {
        expect(result.losses[0]).toBe(0);
        return;
      }
      // Beyond s = 130 the rounding of cosines in streamed rows shows: 1.5e-8·s.
      const error = contract.headGradient * (loss.scale > 130 ? 20 : 1);
      expect(
        relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
      ).toBeLessThanOrEqual(error);
      const { gradPrototypes } = expected;
      await expectUpdate(head, prototypes, gradPrototypes, learningRate, error);
    }
  });
});

it('goes through a checkpoint to the same bits', async () => {
  const loss = arcFace({ scale: 16, labelSmoothing: 0.1 });
  using head = new PrototypeHead({
    identities: 40,
    dim: 7,
    loss,
    optimizer: sgd({ momentum: 0.9 }),
  });
  const [x, y] = [normalTensor(5, 7, 1), randomLabels(5, 40, 2)];
  head.stepSync(x, y);
  const folder = mkdtempSync(path.join(tmpdir(), 'label-smoothing-'));
  try {
    const file = path.join(folder, 'head.safetensors');
    await head.save(file);
    using loaded = await PrototypeHead.load(file);
    expect(loaded.loss).toEqual(loss);
    expect(loaded.stepSync(x, y).losses).toEqual(head.stepSync(x, y).losses);
    expect(await loaded.prototypes()).toEqual(await head.prototypes());
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('refuses', () => {
  const file = 'label-smoothing.test.ts';
  const invalid = 'ERR_INVALID_ARGUMENT';
  const calls: BadCall[] = [
    [
      'an α other than 1',
      () => cosFace({ alpha: 1.25, labelSmoothing: 0.1 }),
      invalid,
      /cosFace: .*labelSmoothing.*alpha 1\.25.*0\.1/,
    ],
    [
      'an α near 1',
      () => arcFace({ alpha: 1 + 1e-12, labelSmoothing: 0.1 }),
      invalid,
      /arcFace: .*labelSmoothing/,
    ],
    [
      'everything smoothed away',
      () => arcFace({ labelSmoothing: 1 }),
      invalid,
      /labelSmoothing.*\[0, 1\).*1/,
    ],
    [
      'less than nothing',
      () => combinedMargin({ labelSmoothing: -0.1 }),
      invalid,
      /labelSmoothing.*-0\.1/,
    ],
    [
      'a number that is none',
      () =>
        cosFaceLossSync(tensor(Float32Array.of(1), [1, 1]), [0], {
          labelSmoothing: Number.NaN,
        }),
      invalid,
      /cosFace: .*labelSmoothing.*NaN/,
    ],
  ];
  it.each(calls)('%s', (...bad) => expectFailure(bad, file));
});
