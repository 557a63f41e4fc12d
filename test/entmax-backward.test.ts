import { describe, expect, it } from 'vitest';
import {
  entmaxBackward,
  entmaxBackwardSync,
  entmaxSync,
  tensor,
} from '../lib/index.js';
import { float16Values } from '../lib/io/float16.js';
import { largestDifference, relativeError } from './helpers/contract.js';
import { normalTensor } from './helpers/random.js';
import { referencePosterior } from './helpers/reference.js';

/**
 * The Jacobian ∂p/∂θ of one row: diag(u) − u uᵀ/⟨u, 1⟩, u = q^{α−1} p^{2−α} on the support. Its
 * rows sum to 0, which gives the diagonal without cancellation.
 */
function jacobian(p: number[], alpha: number, q: number[]): number[][] {
  const u = p.map((value, j) =>
    value > 0 ? q[j]! ** (alpha - 1) * value ** (2 - alpha) : 0,
  );
  const total = u.reduce((sum, value) => sum + value, 0);
  return u.map((ui, i) => {
    const line = u.map((uj, j) => (i === j ? 0 : -ui * (uj / total)));
    line[i] = -line.reduce((sum, value) => sum + value, 0);
    return line;
  });
}

function transposedProduct(matrix: number[][], v: ArrayLike<number>) {
  return matrix.map((_, j) =>
    matrix.reduce((sum, line, i) => sum + line[j]! * v[i]!, 0),
  );
}

describe.each([1, 1.05, 1.25, 1.5, 2, 2.5, 3])(
  'entmaxBackward, α %d',
  (alpha) => {
    it.each([
      [1, 1],
      [1, 2],
      [19, 19],
      [3, 111],
      [2, 989],
    ] as const)('explicit Jacobian, %d rows of %d', async (rows, classes) => {
      const logits = normalTensor(rows, classes, 3, 2);
      const v = normalTensor(rows, classes, 4);
      const reference = normalTensor(1, classes, 5).data.map(Math.exp);
      const options = { alpha, reference };
      const p = entmaxSync(logits, options);
      const received = await entmaxBackward(v, p, options);
      expect(received.dims).toEqual([rows, classes]);
      expect(entmaxBackwardSync(v, p, options)).toEqual(received);
      for (let i = 0; i < rows; i += 1) {
        const at = (all: Float32Array) => [
          ...all.subarray(i * classes, (i + 1) * classes),
        ];
        const expected = transposedProduct(
          jacobian(at(p.data), alpha, [...reference]),
          at(v.data),
        );
        expect(relativeError(at(received.data), expected)).toBeLessThan(1e-6);
        at(p.data).forEach((value, j) => {
          if (value === 0) expect(Math.abs(at(received.data)[j]!)).toBe(0);
        });
        // Shifting all logits changes nothing: the gradient sums to 0.
        const sum = at(received.data).reduce((total, g) => total + g, 0);
        const size = Math.hypot(...expected) * Math.sqrt(classes);
        expect(Math.abs(sum)).toBeLessThanOrEqual(1e-6 * (1 + size));
      }
    });

    it('finite differences of the posterior', () => {
      const theta = [0.4, 0.1, -0.2, 0.3, -2];
      const q = [1, 0.5, 2, 1.5, 1];
      const v = [1, -2, 0.5, 3, 1];
      const value = (logits: number[]) =>
        referencePosterior(logits, alpha, q).posterior.reduce(
          (sum, p, j) => sum + p * v[j]!,
          0,
        );
      const step = 1e-5;
      const expected = theta.map((_, j) => {
        const moved = (by: number) =>
          value(theta.map((logit, i) => (i === j ? logit + by : logit)));
        return (moved(step) - moved(-step)) / (2 * step);
      });
      const options = { alpha, reference: Float32Array.from(q) };
      const p = entmaxSync(tensor(Float32Array.from(theta), [1, 5]), options);
      const received = entmaxBackwardSync(
        tensor(Float32Array.from(v), [1, 5]),
        p,
        options,
      );
      // p^{2−α} of a float32 p magnifies its rounding for α > 2.
      const bound = alpha <= 2 ? 2e-6 : 1e-4;
      expect(largestDifference(received.data, expected)).toBeLessThan(bound);
    });

    it('is zero where one class holds everything', () => {
      const p = tensor(Float32Array.of(0, 1, 0), [1, 3]);
      const v = tensor(Float32Array.of(5, -7, 2), [1, 3]);
      const received = entmaxBackwardSync(v, p, { alpha });
      expect([...received.data].map(Math.abs)).toEqual([0, 0, 0]);
    });
  },
);

describe('entmaxBackward', () => {
  it('reads float16 posteriors and gradients', () => {
    const values = float16Values();
    const p = Uint16Array.of(0x3800, 0x3400, 0x3400, 0);
    const v = Uint16Array.of(0x3c00, 0xc000, 0x3800, 0x4400);
    const half = (data: Uint16Array) => ({
      type: 'float16',
      data,
      dims: [1, 4],
    });
    const single = (data: Uint16Array) =>
      tensor(
        Float32Array.from(data, (bits) => values[bits]!),
        [1, 4],
      );
    expect(entmaxBackwardSync(half(v), half(p))).toEqual(
      entmaxBackwardSync(single(v), single(p)),
    );
  });

  it('accepts an empty batch', async () => {
    const empty = tensor(new Float32Array(0), [0, 3]);
    expect(await entmaxBackward(empty, empty)).toEqual(empty);
  });
});
