import { describe, expect, it } from 'vitest';
import { entmaxSync } from '../../lib/index.js';
import { entmax } from '../../lib/tfjs/index.js';
import { contract, relativeError } from '../helpers/contract.js';
import {
  type BadCall,
  expectFailure,
  expectName,
  wrong,
} from '../helpers/failures.js';
import { orders } from '../helpers/losses.js';
import { normalTensor } from '../helpers/random.js';
import * as tf from '../helpers/tfjs.js';

/** A function of the posterior whose gradient is not constant over the classes. */
const weigh = (p: tf.Tensor, weights: tf.Tensor) =>
  tf.sum(tf.mul(weights, tf.square(p)));

describe.each(orders)('entmax of tfjs, α %d', (alpha) => {
  it.each([[[7]], [[3, 19]], [[2, 3, 5]], [[1, 1]], [[2, 2, 1, 111]]])(
    'shape %j',
    (shape) => {
      const classes = shape.at(-1)!;
      const rows = shape.reduce((product, size) => product * size) / classes;
      const logits = normalTensor(rows, classes, 1);
      tf.tidy(() => {
        const p = entmax(tf.tensor(logits.data, shape), { alpha });
        expect(p.shape).toEqual(shape);
        expect(p.dataSync()).toEqual(entmaxSync(logits, { alpha }).data);
      });
    },
  );

  it.each([false, true])('gradient, reference measure: %s', (measured) => {
    const [rows, classes] = [3, 6];
    const { data } = normalTensor(rows, classes, 4);
    const reference = measured
      ? normalTensor(1, classes, 5, 0.5).data.map(Math.exp)
      : null;
    const options = { alpha, reference };
    const { data: factors } = normalTensor(rows, classes, 6);
    tf.tidy(() => {
      const weights = tf.tensor2d(factors, [rows, classes]);
      const value = (logits: Float32Array) =>
        weigh(
          entmax(tf.tensor2d(logits, [rows, classes]), options),
          weights,
        ).dataSync()[0]!;
      const gradient = tf.grad((logits) =>
        weigh(entmax(logits, options), weights),
      )(tf.tensor2d(data, [rows, classes]));
      const step = 2 ** -8;
      const differences = data.map((logit, k) => {
        const [above, below] = [data.slice(), data.slice()];
        above[k] = logit + step;
        below[k] = logit - step;
        return (value(above) - value(below)) / (above[k]! - below[k]!);
      });
      expect(relativeError(gradient.dataSync(), differences)).toBeLessThan(
        1e-3,
      );
    });
  });

  it.each([[[0, 5]], [[3, 0]], [[0]], [[2, 0, 4]]])('empty: %j', (shape) => {
    tf.tidy(() => {
      const p = entmax(tf.zeros(shape), { alpha });
      expect(p.shape).toEqual(shape);
      const gradient = tf.grad((v) => tf.sum(entmax(v, { alpha })))(
        tf.zeros(shape),
      );
      expect(gradient.shape).toEqual(shape);
    });
  });
});

describe('entmax of tfjs', () => {
  const x = tf.tensor2d(normalTensor(4, 9, 7).data, [4, 9]);

  it('is the softmax of tfjs at α = 1, and so is its gradient', () => {
    tf.tidy(() => {
      const weights = tf.tensor2d(normalTensor(4, 9, 8).data, [4, 9]);
      const ours = tf.valueAndGrad((v: tf.Tensor) =>
        weigh(entmax(v, { alpha: 1 }), weights),
      )(x);
      const theirs = tf.valueAndGrad((v: tf.Tensor) =>
        weigh(tf.softmax(v), weights),
      )(x);
      // Squares of posteriors: twice what these may be off, theirs being float32 throughout.
      expect(
        relativeError(ours.value.dataSync(), theirs.value.dataSync()),
      ).toBeLessThan(2 * contract.posterior);
      expect(
        relativeError(ours.grad.dataSync(), theirs.grad.dataSync()),
      ).toBeLessThan(1e-5);
    });
  });

  it('leaves no tensor behind', () => {
    const { numTensors } = tf.memory();
    entmax(x).dispose();
    tf.grad((v) => tf.sum(entmax(v)))(x).dispose();
    expect(() => entmax(x, { alpha: 0 })).toThrow();
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  it('keeps the reference measure of the forward pass', () => {
    const reference = new Float32Array(9).fill(1);
    tf.tidy(() => {
      const gradient = (change: boolean) =>
        tf
          .grad((v) => {
            const p = entmax(v, { reference });
            if (change) reference.fill(7, 0, 4);
            return tf.sum(tf.square(p));
          })(x)
          .dataSync();
      expect(gradient(true)).not.toEqual(gradient(false));
      reference.fill(1);
      expect(gradient(true)).toEqual(
        tf
          .grad((v) => tf.sum(tf.square(entmax(v))))(x)
          .dataSync(),
      );
    });
  });

  it('has no second derivative', () => {
    const first = tf.grad((v) => tf.sum(tf.square(entmax(v))));
    expect(() => tf.grad(first)(x)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message:
          'entmax: expected a first derivative, second ones are not computed',
      }),
    );
  });
});

describe('errors of entmax of tfjs', () => {
  const x = tf.zeros([2, 3]);
  const scalar = tf.scalar(1);
  const int32 = tf.zeros([2, 3], 'int32');
  const infinite = tf.tensor2d(
    [1, 2, 3, 4, Number.POSITIVE_INFINITY, 5],
    [2, 3],
  );
  const calls: BadCall[] = [
    [
      'numbers',
      () => entmax(wrong([1, 2]) as never),
      'ERR_INVALID_ARGUMENT',
      /logits to be a tfjs tensor/,
    ],
    ['a scalar', () => entmax(scalar), 'ERR_INVALID_ARGUMENT', /logits.shape/],
    ['whole numbers', () => entmax(int32), 'ERR_INVALID_ARGUMENT', /'float32'/],
    ['α < 1', () => entmax(x, { alpha: 0.5 }), 'ERR_INVALID_ARGUMENT', /alpha/],
    [
      'a misspelt option',
      () => entmax(x, wrong({ order: 2 }) as never),
      'ERR_INVALID_ARGUMENT',
      /alpha, reference, device/,
    ],
    [
      'a short reference',
      () => entmax(x, { reference: new Float32Array(2) }),
      'ERR_INVALID_ARGUMENT',
      /3 positive/,
    ],
    ['an infinite logit', () => entmax(infinite), 'ERR_NON_FINITE', /row 1/],
  ];

  it.each(calls)('%s', async (...call) => {
    const { numTensors } = tf.memory();
    await expectFailure(call, 'entmax.test.ts');
    expectName(call[1], 'entmax');
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});
