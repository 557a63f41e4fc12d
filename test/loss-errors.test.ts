import { describe, it } from 'vitest';
import {
  a3mLoss,
  arcFaceLossSync,
  cosFaceLoss,
  entmaxLoss,
  qMarginLoss,
  qMarginLossSync,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import {
  type BadCall,
  badTensors,
  expectFailure,
  wrong,
} from './helpers/failures.js';

const file = 'loss-errors.test.ts';
const good = tensor(Float32Array.of(0.5, 0.1, -0.2, 0.3, 0.2, 0.9), [2, 3]);
const labels = Int32Array.of(0, 2);

/** The good input with one element replaced. */
function broken(at: number, value: number): TensorLike {
  const data = good.data.slice();
  data[at] = value;
  return { ...good, data };
}

describe('losses refuse', () => {
  const calls: BadCall[] = [
    ...badTensors.map(
      ([what, value, message]): BadCall => [
        what,
        () => qMarginLoss(value, labels),
        'ERR_INVALID_ARGUMENT',
        message,
      ],
    ),
    [
      'an empty batch',
      () => qMarginLoss(tensor(new Float32Array(0), [0, 3]), new Int32Array(0)),
      'ERR_INVALID_ARGUMENT',
      /at least one row/,
    ],
    [
      'no classes',
      () => entmaxLoss(tensor(new Float32Array(0), [2, 0]), labels),
      'ERR_INVALID_ARGUMENT',
      /one class/,
    ],
    [
      'a negative label',
      () => a3mLoss(good, Int32Array.of(0, -2)),
      'ERR_LABEL_RANGE',
      /labels\[1\].*\[0, 3\).*-1.*-2/,
    ],
    [
      'a label beyond the classes',
      () => cosFaceLoss(good, Int32Array.of(3, 0)),
      'ERR_LABEL_RANGE',
      /labels\[0\].*3/,
    ],
    [
      'labels of another type',
      () => qMarginLoss(good, wrong(Float32Array.of(0, 1))),
      'ERR_INVALID_ARGUMENT',
      /Int32Array/,
    ],
    [
      'too few labels',
      () => qMarginLoss(good, Int32Array.of(1)),
      'ERR_INVALID_ARGUMENT',
      /2 rows/,
    ],
    [
      'no labels',
      () => qMarginLoss(good, wrong(undefined)),
      'ERR_INVALID_ARGUMENT',
      /labels/,
    ],
    [
      'NaN in a row',
      () => qMarginLossSync(broken(5, Number.NaN), labels),
      'ERR_NON_FINITE',
      /cosines row 1.*column 2/,
    ],
    [
      'α < 1',
      () => qMarginLoss(good, labels, { alpha: 0.99 }),
      'ERR_INVALID_ARGUMENT',
      /alpha/,
    ],
    [
      'a negative margin',
      () => a3mLoss(good, labels, { margin: -0.1 }),
      'ERR_INVALID_ARGUMENT',
      /margin.*-0\.1/,
    ],
    [
      'a scale of 0',
      () => arcFaceLossSync(good, labels, { scale: 0 }),
      'ERR_INVALID_ARGUMENT',
      /scale/,
    ],
    [
      'a margin whose loss would overflow',
      () => qMarginLoss(good, labels, { alpha: 2, scale: 100, margin: 1 }),
      'ERR_INVALID_ARGUMENT',
      /overflow/,
    ],
    [
      'a GPU that is not there',
      () => qMarginLoss(good, labels, { device: 'cuda:999' }),
      'ERR_DEVICE',
      /cuda:999/,
    ],
    [
      'a reference of 0',
      () => qMarginLoss(good, labels, { reference: new Float32Array(3) }),
      'ERR_INVALID_ARGUMENT',
      /reference\[0\]/,
    ],
    [
      'an upstream gradient of another size',
      async () =>
        (await qMarginLoss(good, labels)).backward(
          tensor(new Float32Array(3), [3]),
        ),
      'ERR_INVALID_ARGUMENT',
      /gradLoss.*\[2\]/,
    ],
  ];
  it.each(calls)('%s', (...bad) => expectFailure(bad, file));
});
