import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  arcFace,
  cosFace,
  entmaxHead,
  type InterTopK,
  type LossSpecification,
  PrototypeHead,
  qMargin,
  qMarginLossSync,
  sgd,
  type Tensor,
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
import { emulated } from './helpers/emulation.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import {
  functionFamilies,
  lossFamilies,
  lossOnCosines,
  orders,
} from './helpers/losses.js';
import {
  clusteredEmbeddings,
  cornerTensor,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceRow } from './helpers/reference.js';
import { referenceHead } from './helpers/reference-head.js';
import { expectUpdate, largeLearningRate } from './helpers/updates.js';

const withTop = (loss: LossSpecification, k: number, penalty: number) => ({
  ...loss,
  interTopK: k,
  interTopKPenalty: penalty,
});

describe.each(functionFamilies)('%s on cosines', (family) => {
  test.prop(
    [
      anyLabelledCosines(4, 24).chain((batch) =>
        fc.record({
          batch: fc.constant(batch),
          reference: fc.option(anyMeasure(batch.cosines.dims[1]!)),
        }),
      ),
      fc.constantFrom(...orders, 2.5),
      fc.constantFrom(1, 2, 5, 100),
      fc.constantFrom(0.06, 0.3),
    ],
    quick,
  )(
    'is the loss of the float64 reference, with its gradient',
    ({ batch: { cosines, labels }, reference }, alpha, k, penalty) => {
      const loss = withTop(lossFamilies[family](alpha, 10), k, penalty);
      const result = lossOnCosines(loss, cosines, labels, { reference });
      const ones = new Float32Array(labels.length).fill(1);
      const gradient = rowsOf(result.backwardSync(tensor(ones, [ones.length])));
      rowsOf(cosines).forEach((row, i) => {
        const expected = referenceRow(loss, row, labels[i]!, reference);
        expectLoss(result.loss.data[i]!, expected.loss);
        const largest = Math.max(10, ...expected.gradCosines.map(Math.abs));
        expect(
          largestDifference(gradient[i]!, expected.gradCosines),
        ).toBeLessThanOrEqual(contract.gradientPerScale * largest);
      });
    },
  );

  // Beyond 16,384 classes a device solves rows in slices.
  it('20,000 classes', () => {
    const [rows, classes] = [3, 20_000];
    const cosines = tensor(
      normalTensor(rows, classes, 7, 0.2).data.map((c) =>
        Math.max(-1, Math.min(1, c)),
      ),
      [rows, classes],
    );
    const labels = Int32Array.of(5, -1, 19_999);
    for (const alpha of [1, 1.25]) {
      const loss = withTop(lossFamilies[family](alpha, 10), 7, 0.2);
      const result = lossOnCosines(loss, cosines, labels);
      for (const i of [0, 2]) {
        const row = [...cosines.data.subarray(i * classes, (i + 1) * classes)];
        expectLoss(
          result.loss.data[i]!,
          referenceRow(loss, row, labels[i]!).loss,
        );
      }
      expect(result.loss.data[1]).toBe(0);
    }
  });
});

test.prop([anyLabelledCosines(2, 12), fc.constantFrom(...orders)], quick)(
  'the gradient is that of central differences where the choice is fixed',
  ({ cosines, labels }, alpha) => {
    const loss = withTop(lossFamilies.qMargin(alpha, 6), 2, 0.1);
    const h = 1e-5;
    rowsOf(cosines).forEach((row, i) => {
      const label = labels[i]!;
      const others = row.filter((_, j) => j !== label).sort((a, b) => b - a);
      if (others.length > 2 && others[1]! - others[2]! < 4 * h) return;
      const { gradCosines, posterior } = referenceRow(loss, row, label);
      row.forEach((c, j) => {
        // The posterior of α = 2 has a kink where a class enters the support.
        if (posterior[j]! < 1e-3 && alpha > 1) return;
        const at = (value: number) =>
          referenceRow(loss, row.with(j, value), label).loss;
        const slope = (at(c + h) - at(c - h)) / (2 * h);
        expect(Math.abs(gradCosines[j]! - slope)).toBeLessThan(2e-3);
      });
    });
  },
);

test('ties go to the smaller class', () => {
  const cosines = tensor(Float32Array.of(0.5, 0.25, 0.25, 0.25, 0.1), [1, 5]);
  const gradient = qMarginLossSync(cosines, [4], {
    alpha: 1,
    scale: 4,
    margin: 0,
    interTopK: { k: 2, penalty: 0.2 },
  }).backwardSync().data;
  expect(gradient[1]).toBeGreaterThan(gradient[2]!);
  expect(gradient[2]).toBe(gradient[3]);
});

/** One step against the dense float64 reference, with everything it returns. */
async function expectStep(
  loss: LossSpecification,
  prototypes: Tensor,
  embeddings: Tensor,
  labels: Int32Array,
  options: {
    reference?: Float32Array;
    scratchBudget?: number;
    shadow?: 'none';
  },
) {
  const [identities, dim] = prototypes.dims as [number, number];
  const expected = referenceHead(loss, {
    embeddings: embeddings.data,
    prototypes: prototypes.data,
    labels,
    dim,
    reference: options.reference ?? null,
  });
  const learningRate = largeLearningRate(expected.gradPrototypes);
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: sgd({ learningRate }),
    prototypes,
    ...options,
  });
  const posterior = head.posteriorSync(embeddings, labels);
  const evaluated = head.evaluateSync(embeddings, labels);
  const result = head.stepSync(embeddings, labels);
  expect(evaluated.losses).toEqual(result.losses);
  expect(evaluated.gradEmbeddings).toEqual(result.gradEmbeddings);
  expected.rows.forEach((row, i) => {
    expectLoss(result.losses[i]!, row.loss);
    const dense = new Float64Array(identities);
    const last = posterior.rowOffsets[i + 1]!;
    for (let k = posterior.rowOffsets[i]!; k < last; k += 1) {
      dense[posterior.columns[k]!] = posterior.values[k]!;
    }
    expect(largestDifference(dense, row.posterior)).toBeLessThanOrEqual(
      contract.posterior,
    );
  });
  expect(
    relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
  ).toBeLessThanOrEqual(contract.headGradient);
  await expectUpdate(head, prototypes, expected.gradPrototypes, learningRate);
  return { expected, result };
}

/** Up to more than a chunk of dense rows; an emulated device takes long for much more. */
const sizes: (readonly [rows: number, identities: number, dim: number])[] = [
  [1, 1, 3],
  [1, 2, 2],
  [5, 4, 7],
  emulated ? [7, 211, 19] : [19, 989, 19],
  emulated ? [1, 4099, 3] : [3, 5001, 16],
];

describe.each([1, 1.1, 1.25, 1.5, 2])('in the head, α %d', (alpha) => {
  const losses = [
    withTop(qMargin({ alpha, scale: 12, margin: 0.2 }), 5, 0.06),
    withTop(arcFace({ alpha, scale: 12, margin: 0.3 }), 3, 0.3),
  ];
  it.each(sizes)('B %d, C %d, D %d', async (rows, identities, dim) => {
    const prototypes = normalTensor(identities, dim, 1);
    const labels = randomLabels(rows, identities, 3);
    for (const embeddings of [
      normalTensor(rows, dim, 2),
      clusteredEmbeddings(prototypes, labels, 0.9, 5),
    ]) {
      for (const loss of losses) {
        await expectStep(loss, prototypes, embeddings, labels, {});
      }
    }
  });

  it('overflowing rows, and with a reference', async () => {
    const [rows, identities, dim] = [7, emulated ? 211 : 989, 19];
    const prototypes = normalTensor(identities, dim, 1);
    const embeddings = normalTensor(rows, dim, 2);
    const labels = randomLabels(rows, identities, 3);
    const reference = normalTensor(1, identities, 5, 0.3).data.map(Math.exp);
    for (const loss of losses) {
      await expectStep(loss, prototypes, embeddings, labels, { reference });
      const { result } = await expectStep(
        { ...loss, scale: 4 },
        prototypes,
        embeddings,
        labels,
        { scratchBudget: 0 },
      );
      if (alpha > 1 && alpha < 2) {
        expect(result.stats.overflowRows).toBeGreaterThan(0);
      }
    }
  });

  it('ties are settled as in the reference', async () => {
    // Cosines are multiples of 1/32: many are the same, and all are exact.
    const prototypes = cornerTensor(300, 3);
    const embeddings = cornerTensor(5, 4);
    const labels = randomLabels(5, 300, 5);
    for (const k of [1, 4, 299, 1000]) {
      const loss = withTop(cosFace({ alpha, scale: 16, margin: 0 }), k, 0.125);
      await expectStep(loss, prototypes, embeddings, labels, {});
    }
  });
});

it('a class below the threshold is raised into the support', async () => {
  // β = 8: the gap to the best class is more than 1/β, with the penalty it is less.
  const loss = withTop(entmaxHead({ alpha: 1.5, scale: 16 }), 1, 0.1);
  const angle = (c: number) => [c, Math.sqrt(1 - c * c)];
  const prototypes = tensor(
    Float32Array.from([angle(0.9), angle(0.72), angle(0.1)].flat()),
    [3, 2],
  );
  const x = tensor(Float32Array.of(1, 0), [1, 2]);
  const { expected } = await expectStep(
    loss,
    prototypes,
    x,
    Int32Array.of(0),
    {},
  );
  expect(expected.rows[0]!.posterior[1]).toBeGreaterThan(0);
  const without = referenceRow(
    entmaxHead({ alpha: 1.5, scale: 16 }),
    expected.cosines[0]!,
    0,
  );
  expect(without.posterior[1]).toBe(0);
});

it('posteriors without labels have no penalty', () => {
  const prototypes = normalTensor(40, 5, 1);
  const x = normalTensor(3, 5, 2);
  const rows = ([0, 2] as const).map((k) => {
    using head = new PrototypeHead({
      identities: 40,
      dim: 5,
      prototypes,
      loss: withTop(entmaxHead({ alpha: 1.25, scale: 8 }), k, 0.2),
      optimizer: sgd(),
    });
    return head.posteriorSync(x);
  });
  expect(rows[1]).toEqual(rows[0]);
});

it('goes through a checkpoint to the same bits', async () => {
  const loss = qMargin({ scale: 12, interTopK: { k: 5, penalty: 0.06 } });
  expect(loss.interTopK).toBe(5);
  expect(loss.interTopKPenalty).toBe(0.06);
  using head = new PrototypeHead({
    identities: 40,
    dim: 7,
    loss,
    optimizer: sgd({ momentum: 0.9 }),
  });
  const [x, y] = [normalTensor(5, 7, 1), randomLabels(5, 40, 2)];
  head.stepSync(x, y);
  const folder = mkdtempSync(path.join(tmpdir(), 'inter-top-k-'));
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
  const file = 'inter-top-k.test.ts';
  const invalid = 'ERR_INVALID_ARGUMENT';
  const wrong = (value: unknown) => value as InterTopK;
  const calls: BadCall[] = [
    [
      'no class',
      () => qMargin({ interTopK: { k: 0, penalty: 0.1 } }),
      invalid,
      /qMargin: .*interTopK\.k.*>= 1.*0/,
    ],
    [
      'half a class',
      () => cosFace({ interTopK: { k: 1.5, penalty: 0.1 } }),
      invalid,
      /interTopK\.k.*1\.5/,
    ],
    [
      'a reward',
      () => arcFace({ interTopK: { k: 1, penalty: -0.1 } }),
      invalid,
      /interTopK\.penalty.*-0\.1/,
    ],
    [
      'more than cosines differ by',
      () => entmaxHead({ interTopK: { k: 1, penalty: 3 } }),
      invalid,
      /penalty.*\[0, 2\].*3/,
    ],
    [
      'half of it',
      () => qMargin({ interTopK: wrong({ k: 2 }) }),
      invalid,
      /interTopK\.penalty.*undefined/,
    ],
    [
      'other names',
      () => qMargin({ interTopK: wrong({ k: 2, m: 1 }) }),
      invalid,
      /k, penalty.*m/,
    ],
    [
      'a number',
      () => qMargin({ interTopK: wrong(5) }),
      invalid,
      /an object.*5/,
    ],
  ];
  it.each(calls)('%s', (...bad) => expectFailure(bad, file));
});
