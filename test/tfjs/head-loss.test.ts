import { describe, expect, it } from 'vitest';
import { PrototypeHead, qMargin, sgd, tensor } from '../../lib/index.js';
import { headLoss } from '../../lib/tfjs/index.js';
import {
  type BadCall,
  expectFailure,
  expectName,
  wrong,
} from '../helpers/failures.js';
import { normalTensor, randomLabels } from '../helpers/random.js';
import * as tf from '../helpers/tfjs.js';

const [BATCH, IDENTITIES, DIM] = [6, 20, 8];
const labels = randomLabels(BATCH, IDENTITIES, 1);
const inputs = normalTensor(BATCH, DIM, 2);
const x = tf.tensor2d(inputs.data, [BATCH, DIM]);

const makeHead = () =>
  new PrototypeHead({
    identities: IDENTITIES,
    dim: DIM,
    loss: qMargin({ alpha: 1.5, scale: 16 }),
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
  });

const bits = async (head: PrototypeHead) => (await head.prototypes()).data;

/** A backbone of one matrix, and an optimiser for it. */
function makeBackbone() {
  const start = tf.tidy(() => tf.eye(DIM));
  const weights = tf.variable<tf.Rank.R2>(start);
  start.dispose();
  const optimizer = tf.train.sgd(0.1);
  return { weights, optimizer };
}

describe('headLoss', () => {
  it('trains the backbone and steps the head once in each call of minimize', async () => {
    using head = makeHead();
    using twin = makeHead();
    const { weights, optimizer } = makeBackbone();
    const losses: number[] = [];
    for (let step = 0; step < 5; step += 1) {
      // What the backbone gives now, by hand into the twin: the same step.
      const now = tf.tidy(() => tf.matMul(x, weights).dataSync());
      const expected = twin.stepSync(
        tensor(now as Float32Array, [BATCH, DIM]),
        labels,
      );
      const loss = optimizer.minimize(
        () => headLoss(head, tf.matMul(x, weights), labels),
        true,
      );
      losses.push(loss!.dataSync()[0]!);
      loss!.dispose();
      expect(losses.at(-1)).toBe(Math.fround(expected.loss));
      expect(await bits(head)).toEqual(await bits(twin));
    }
    expect(losses[4]).toBeLessThan(losses[0]!);
    const identity = tf.tidy(() => tf.eye(DIM).dataSync());
    expect(weights.dataSync()).not.toEqual(identity);
    weights.dispose();
    optimizer.dispose();
  });

  it('hands on the gradient of the head, times that of the loss', () => {
    using head = makeHead();
    const { gradEmbeddings } = head.evaluateSync(inputs, labels);
    const gradient = tf.tidy(() =>
      tf
        .grad((value) => tf.mul(0.5, headLoss(head, value, labels)))(x)
        .dataSync(),
    );
    expect(gradient).toEqual(gradEmbeddings.data.map((value) => value / 2));
  });

  it('steps without a gradient too, and not with { update: false }', async () => {
    using head = makeHead();
    const before = await bits(head);
    tf.tidy(() =>
      tf.grad((v) => headLoss(head, v, labels, { update: false }))(x),
    );
    expect(await bits(head)).toEqual(before);
    headLoss(head, x, labels).dispose();
    expect(await bits(head)).not.toEqual(before);
  });

  it('takes labels as every call of the head does, and as a tensor of tfjs', () => {
    using head = makeHead();
    const expected = Math.fround(head.evaluateSync(inputs, labels).loss);
    tf.tidy(() => {
      for (const given of [
        labels,
        [...labels],
        BigInt64Array.from(labels, BigInt),
        tf.tensor1d(labels, 'int32'),
      ]) {
        const loss = headLoss(head, x, given, { update: false });
        expect(loss.dataSync()[0]).toBe(expected);
      }
    });
  });

  it('leaves no tensor behind', () => {
    using head = makeHead();
    const { weights, optimizer } = makeBackbone();
    const train = () =>
      optimizer.minimize(() => headLoss(head, tf.matMul(x, weights), labels));
    train();
    const { numTensors } = tf.memory();
    for (let step = 0; step < 3; step += 1) train();
    headLoss(head, x, labels).dispose();
    expect(() => headLoss(head, x, new Int32Array(1))).toThrow(/labels/);
    expect(() => tf.grad((v) => headLoss(head, v, [-1]))(x)).toThrow(/labels/);
    expect(tf.memory().numTensors).toBe(numTensors);
    weights.dispose();
    optimizer.dispose();
  });

  it('refuses while asynchronous calls are pending', async () => {
    using head = makeHead();
    const pending = head.step(inputs, labels);
    expect(() => headLoss(head, x, labels)).toThrow(
      expect.objectContaining({ code: 'ERR_BUSY' }),
    );
    expectName(() => headLoss(head, x, labels), 'headLoss');
    await pending;
    headLoss(head, x, labels).dispose();
  });
});

describe('errors of headLoss', () => {
  const head = makeHead();
  const closed = makeHead();
  closed.dispose();
  const gone = tf.zeros([BATCH, DIM]);
  gone.dispose();
  const int32 = tf.zeros([BATCH, DIM], 'int32');
  const cube = tf.zeros([BATCH, 2, 4]);
  const narrow = tf.zeros([BATCH, DIM - 1]);
  const nan = tf.fill([BATCH, DIM], Number.NaN);
  const floats = tf.tensor1d([...labels]);
  const far = labels.map(() => IDENTITIES);
  const calls: BadCall[] = [
    [
      'no head',
      () => headLoss(wrong({}) as never, x, labels),
      'ERR_INVALID_ARGUMENT',
      /expected head to be a PrototypeHead/,
    ],
    [
      'a tensor of ours',
      () => headLoss(head, wrong(inputs) as never, labels),
      'ERR_INVALID_ARGUMENT',
      /embeddings to be a tfjs tensor/,
    ],
    [
      'whole numbers',
      () => headLoss(head, int32, labels),
      'ERR_INVALID_ARGUMENT',
      /embeddings.dtype to be 'float32' but received 'int32'/,
    ],
    [
      'three axes',
      () => headLoss(head, cube, labels),
      'ERR_INVALID_ARGUMENT',
      /embeddings.dims/,
    ],
    [
      'another width',
      () => headLoss(head, narrow, labels),
      'ERR_INVALID_ARGUMENT',
      /\[B, 8\]/,
    ],
    [
      'a disposed tensor',
      () => headLoss(head, gone, labels),
      'ERR_DISPOSED',
      /embeddings is disposed/,
    ],
    [
      'a disposed head',
      () => headLoss(closed, x, labels),
      'ERR_DISPOSED',
      /the head was disposed/,
    ],
    ['NaN', () => headLoss(head, nan, labels), 'ERR_NON_FINITE', /row 0/],
    [
      'float labels',
      () => headLoss(head, x, floats),
      'ERR_INVALID_ARGUMENT',
      /labels.dtype to be 'int32' but received 'float32'/,
    ],
    [
      'few labels',
      () => headLoss(head, x, [1]),
      'ERR_INVALID_ARGUMENT',
      /one label for each of 6 rows/,
    ],
    [
      'labels out of range',
      () => headLoss(head, x, far),
      'ERR_LABEL_RANGE',
      /20/,
    ],
    [
      'a misspelt option',
      () => headLoss(head, x, labels, wrong({ updates: false }) as never),
      'ERR_INVALID_ARGUMENT',
      /made of update/,
    ],
    [
      'an option that is no boolean',
      () => headLoss(head, x, labels, wrong({ update: 1 }) as never),
      'ERR_INVALID_ARGUMENT',
      /update to be true or false/,
    ],
  ];

  it.each(calls)('%s', async (...call) => {
    const before = await bits(head);
    const { numTensors } = tf.memory();
    await expectFailure(call, 'head-loss.test.ts');
    expectName(call[1], 'headLoss');
    expect(tf.memory().numTensors).toBe(numTensors);
    expect(await bits(head)).toEqual(before);
  });

  it('a second derivative', () => {
    const first = tf.grad((value) =>
      headLoss(head, value, labels, { update: false }),
    );
    expect(() => tf.grad(first)(x)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message:
          'headLoss: expected a first derivative, second ones are not computed',
      }),
    );
  });

  it('a backend that cannot be read synchronously', async () => {
    const unreadable = tf.tidy(() => tf.mul(x, 1));
    unreadable.dataSync = () => {
      throw new Error('only data() is supported');
    };
    await expectFailure(
      [
        '',
        () => headLoss(head, unreadable, labels),
        'ERR_DEVICE',
        /read embeddings synchronously/,
      ],
      'head-loss.test.ts',
    );
    unreadable.dispose();
  });
});
