import { expect, test } from 'vitest';
import { Projection } from '../../lib/cli/projection.js';
import { RandomStream } from '../../lib/random.js';

function noise(length: number, key: number): Float32Array {
  const values = new Float32Array(length);
  new RandomStream(key).addGaussian(values, 1);
  return values;
}

/** ⟨P·x, g⟩ summed over the rows, in float64: the loss whose gradient by y is g. */
function lossOf(
  weight: ArrayLike<number>,
  features: Float32Array,
  gradOutputs: Float32Array,
  [rows, inputs, outputs]: readonly [number, number, number],
): number {
  let loss = 0;
  for (let row = 0; row < rows; row += 1) {
    for (let out = 0; out < outputs; out += 1) {
      let value = 0;
      for (let column = 0; column < inputs; column += 1) {
        value +=
          weight[out * inputs + column]! * features[row * inputs + column]!;
      }
      loss += value * gradOutputs[row * outputs + out]!;
    }
  }
  return loss;
}

test('the identity keeps, cuts or pads a vector', () => {
  const features = noise(3 * 5, 1);
  expect(Projection.start(5, 5, 'identity', 0).apply(features, 3)).toEqual(
    features,
  );
  const cut = Projection.start(5, 2, 'identity', 0).apply(features, 3);
  expect([...cut.subarray(2, 4)]).toEqual([...features.subarray(5, 7)]);
  const padded = Projection.start(5, 7, 'identity', 0).apply(features, 3);
  expect([...padded.subarray(7, 14)]).toEqual([
    ...features.subarray(5, 10),
    0,
    0,
  ]);
});

test('a random start depends on the seed and keeps lengths', () => {
  const { weight } = Projection.start(300, 200, 'random', 1);
  expect(Projection.start(300, 200, 'random', 1).weight).toEqual(weight);
  expect(Projection.start(300, 200, 'random', 2).weight).not.toEqual(weight);
  const power = weight.reduce((sum, value) => sum + value * value, 0);
  expect(power / 200).toBeCloseTo(1, 1);
});

test.each([
  [1, 1, 1],
  [3, 5, 2],
  [128, 37, 19],
] as const)('%i rows, %i to %i: forward and gradient', (...sizes) => {
  const [rows, inputs, outputs] = sizes;
  const features = noise(rows * inputs, 2);
  const gradOutputs = noise(rows * outputs, 3);
  const projection = Projection.start(inputs, outputs, 'random', 4);
  const before = projection.weight.slice();
  const forward = projection.apply(features, rows);
  const expected = lossOf(before, features, gradOutputs, sizes);
  const received = forward.reduce(
    (sum, value, index) => sum + value * gradOutputs[index]!,
    0,
  );
  expect(received).toBeCloseTo(expected, 3);
  // Plain gradient descent with rate 1 shows the gradient; the loss is linear in P.
  projection.update(features, gradOutputs, rows, {
    learningRate: 1,
    momentum: 0,
    weightDecay: 0,
  });
  for (const index of [0, before.length >> 1, before.length - 1]) {
    const shifted = Float64Array.from(before);
    shifted[index]! += 1;
    const slope = lossOf(shifted, features, gradOutputs, sizes) - expected;
    expect(before[index]! - projection.weight[index]!).toBeCloseTo(slope, 3);
  }
});

test('momentum and weight decay follow the rule of sgd', () => {
  const projection = new Projection(
    1,
    1,
    Float32Array.of(2),
    Float32Array.of(0.5),
  );
  const rule = { learningRate: 0.25, momentum: 0.5, weightDecay: 0.125 };
  projection.update(Float32Array.of(3), Float32Array.of(1), 1, rule);
  // v = 0.5·0.5 + (3·1 + 0.125·2) = 3.5, P = 2 − 0.25·3.5
  expect(projection.momentum[0]).toBe(3.5);
  expect(projection.weight[0]).toBe(1.125);
});

test('projecting in pieces gives the bits of projecting at once', async () => {
  const rows = 4096 + 3;
  const features = noise(rows * 6, 5);
  const projection = Projection.start(6, 4, 'random', 6);
  expect(await projection.applyAll(features, rows)).toEqual(
    projection.apply(features, rows),
  );
});
