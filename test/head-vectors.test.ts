import { describe, expect, it } from 'vitest';
import { PrototypeHead, sgd, tensor } from '../lib/index.js';
import { contract, expectLoss } from './helpers/contract.js';
import {
  specificationOf,
  type VectorCase,
  vectorCases,
} from './helpers/vectors.js';

/**
 * A float32 prototype whose cosine with the first axis is `cosine` to about 1e-11: the rest of its
 * length is split over two axes, a rounded-down root and what that leaves.
 */
function prototypeOf(cosine: number): [number, number, number] {
  const rest = 1 - cosine * cosine;
  const large = Math.fround(Math.sqrt(rest) * (1 - 2 ** -20));
  return [cosine, large, Math.sqrt(rest - large * large)];
}

function headOf(testCase: VectorCase, scratchBudget?: number): PrototypeHead {
  const identities = testCase.cosines.length;
  return new PrototypeHead({
    identities,
    dim: 3,
    loss: specificationOf(testCase),
    optimizer: sgd({ learningRate: 0.5 }),
    prototypes: tensor(
      Float32Array.from(testCase.cosines.flatMap(prototypeOf)),
      [identities, 3],
    ),
    reference:
      testCase.reference === null
        ? null
        : Float32Array.from(testCase.reference),
    ...(scratchBudget === undefined ? {} : { scratchBudget }),
  });
}

// A budget of nothing sends every row with more than 16 candidates through the streaming path.
describe.each([
  ['sparse rows', undefined],
  ['overflowing rows', 0],
])('the head against the float64 vectors, %s', (_, scratchBudget) => {
  it.each(vectorCases)('$name', async (testCase) => {
    using head = headOf(testCase, scratchBudget);
    const { scale, label } = testCase;
    // A raw embedding of length 2, so that the normalisation takes part.
    const embeddings = tensor(Float32Array.of(2, 0, 0), [1, 3]);
    const labels = Int32Array.of(label);
    const result = head.stepSync(embeddings, labels);
    expectLoss(result.losses[0]!, testCase.loss);

    // ∂x = (1/‖x‖) Σ g_j (ŵ_j − c_j x̂), ∂w_j = (1/‖w_j‖) g_j (x̂ − c_j ŵ_j), in float64.
    const gradX = [0, 0, 0];
    const bound = contract.gradientPerScale * scale;
    const updated = (await head.prototypes()).data;
    testCase.cosines.forEach((cosine, j) => {
      const w = prototypeOf(cosine);
      const g = testCase.gradCosines[j]!;
      for (let k = 0; k < 3; k += 1) {
        const x = k === 0 ? 1 : 0;
        gradX[k]! += (g * (w[k]! - cosine * x)) / 2;
        const gradW = g * (x - cosine * w[k]!);
        const step = Math.fround(w[k]!) - updated[3 * j + k]!;
        // The difference of two float32 prototypes carries their rounding.
        expect(Math.abs(step / 0.5 - gradW)).toBeLessThanOrEqual(
          bound + 2.4e-7 * (1 + Math.abs(gradW)),
        );
      }
    });
    const error = Math.hypot(
      ...gradX.map((g, k) => g - result.gradEmbeddings.data[k]!),
    );
    const norm = Math.hypot(...gradX);
    expect(error).toBeLessThanOrEqual(
      contract.headGradient * norm + contract.gradientPerScale * scale,
    );
    if (testCase.gradCosines.every((g) => g === 0)) {
      expect([...result.gradEmbeddings.data]).toEqual([0, 0, 0]);
      expect(result.stats.touchedPrototypes).toBe(0);
    }
  });
});
