import { describe, it } from 'vitest';
import {
  a3m,
  adagrad,
  combinedMargin,
  cosFace,
  entmaxBackward,
  entmaxBackwardSync,
  entmaxSync,
  qMargin,
  setThreadCount,
  sgd,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { type BadCall, expectFailure } from './helpers/failures.js';

const file = 'option-errors.test.ts';
const good = tensor(Float32Array.of(0.5, 0.1, -0.2, 0.3, 0.2, 0.9), [2, 3]);

/** The good input with one element replaced. */
function broken(at: number, value: number): TensorLike {
  const data = good.data.slice();
  data[at] = value;
  return { ...good, data };
}

describe('the rest refuses', () => {
  const p = entmaxSync(good);
  const calls: BadCall[] = [
    [
      'entmaxBackward: other sizes',
      () => entmaxBackward({ ...good, dims: [3, 2] }, p),
      'ERR_INVALID_ARGUMENT',
      /gradPosterior\.dims.*\[2, 3\]/,
    ],
    [
      'entmaxBackward: NaN gradient',
      () => entmaxBackward(broken(3, Number.NaN), p),
      'ERR_NON_FINITE',
      /gradPosterior row 1/,
    ],
    [
      'entmaxBackward: NaN posterior',
      () => entmaxBackwardSync(good, broken(0, Number.NaN)),
      'ERR_NON_FINITE',
      /posterior row 0/,
    ],
    [
      'tensor: wrong sizes',
      () => tensor(new Float32Array(3), [2]),
      'ERR_INVALID_ARGUMENT',
      /dims/,
    ],
    [
      'qMargin: margin',
      () => qMargin({ margin: -1 }),
      'ERR_INVALID_ARGUMENT',
      /qMargin.*margin/,
    ],
    [
      'a3m: NaN margin',
      () => a3m({ margin: Number.NaN }),
      'ERR_INVALID_ARGUMENT',
      /a3m.*margin.*NaN/,
    ],
    [
      'cosFace: scale',
      () => cosFace({ scale: -1 }),
      'ERR_INVALID_ARGUMENT',
      /scale/,
    ],
    [
      'combinedMargin: m1',
      () => combinedMargin({ m1: 0 }),
      'ERR_INVALID_ARGUMENT',
      /m1/,
    ],
    [
      'sgd: learning rate',
      () => sgd({ learningRate: -1 }),
      'ERR_INVALID_ARGUMENT',
      /learningRate/,
    ],
    [
      'sgd: momentum',
      () => sgd({ momentum: 1 }),
      'ERR_INVALID_ARGUMENT',
      /momentum/,
    ],
    [
      'sgd: decay that erases',
      () => sgd({ learningRate: 2, weightDecay: 0.5 }),
      'ERR_INVALID_ARGUMENT',
      /less than 1/,
    ],
    [
      'adagrad: epsilon',
      () => adagrad({ epsilon: 0 }),
      'ERR_INVALID_ARGUMENT',
      /epsilon/,
    ],
    [
      'adagrad: initialAccumulator',
      () => adagrad({ initialAccumulator: -1 }),
      'ERR_INVALID_ARGUMENT',
      /initialAccumulator/,
    ],
    [
      'setThreadCount: 0',
      () => setThreadCount(0),
      'ERR_INVALID_ARGUMENT',
      /count/,
    ],
    [
      'setThreadCount: 1.5',
      () => setThreadCount(1.5),
      'ERR_INVALID_ARGUMENT',
      /count/,
    ],
  ];
  it.each(calls)('%s', (...bad) => expectFailure(bad, file));
});
