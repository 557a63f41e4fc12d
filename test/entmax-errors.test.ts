import { describe, it } from 'vitest';
import {
  type Device,
  entmax,
  entmaxSync,
  sparseEntmax,
  sparseEntmaxSync,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { type BadCall, badTensors, expectFailure } from './helpers/failures.js';

const file = 'entmax-errors.test.ts';
const good = tensor(Float32Array.of(0.5, 0.1, -0.2, 0.3, 0.2, 0.9), [2, 3]);

/** The good input with one element replaced. */
function broken(at: number, value: number): TensorLike {
  const data = good.data.slice();
  data[at] = value;
  return { ...good, data };
}

describe.each([
  ['entmax', entmax],
  ['entmaxSync', entmaxSync],
  ['sparseEntmax', sparseEntmax],
  ['sparseEntmaxSync', sparseEntmaxSync],
] as const)('%s refuses', (name, call) => {
  const options = (value: object) => value as { alpha: number };
  const calls: BadCall[] = [
    ...badTensors.map(
      ([what, value, message]): BadCall => [
        what,
        () => call(value),
        'ERR_INVALID_ARGUMENT',
        message,
      ],
    ),
    [
      'α < 1',
      () => call(good, { alpha: 0.5 }),
      'ERR_INVALID_ARGUMENT',
      /alpha.*0\.5/,
    ],
    [
      'NaN α',
      () => call(good, { alpha: Number.NaN }),
      'ERR_INVALID_ARGUMENT',
      /alpha.*NaN/,
    ],
    [
      'infinite α',
      () => call(good, { alpha: 1 / 0 }),
      'ERR_INVALID_ARGUMENT',
      /alpha/,
    ],
    [
      'α as text',
      () => call(good, options({ alpha: '2' })),
      'ERR_INVALID_ARGUMENT',
      /alpha.*'2'/,
    ],
    [
      'NaN in a row',
      () => call(broken(4, Number.NaN)),
      'ERR_NON_FINITE',
      /logits row 1/,
    ],
    [
      'an infinity in a row',
      () => call(broken(0, -1 / 0)),
      'ERR_NON_FINITE',
      /logits row 0.*column 0/,
    ],
    [
      'float16 NaN',
      () =>
        call({
          type: 'float16',
          data: Uint16Array.of(0, 0x7e00),
          dims: [1, 2],
        }),
      'ERR_NON_FINITE',
      /row 0.*column 1/,
    ],
    [
      'a short reference',
      () => call(good, { reference: Float32Array.of(1, 1) }),
      'ERR_INVALID_ARGUMENT',
      /reference.*3 positive/,
    ],
    [
      'a reference of 0',
      () => call(good, { reference: Float32Array.of(1, 0, 1) }),
      'ERR_INVALID_ARGUMENT',
      /reference\[1\].*received 0/,
    ],
    [
      'a negative reference',
      () => call(good, { reference: Float32Array.of(1, 1, -1) }),
      'ERR_INVALID_ARGUMENT',
      /reference\[2\]/,
    ],
    [
      'a NaN reference',
      () => call(good, { reference: Float32Array.of(Number.NaN, 1, 1) }),
      'ERR_INVALID_ARGUMENT',
      /reference\[0\]/,
    ],
    [
      'a GPU that is not there',
      () => call(good, { device: 'cuda:999' }),
      'ERR_DEVICE',
      /'cuda:999' cannot be used: ./,
    ],
    [
      'an unknown device',
      () => call(good, { device: 'tpu' as Device }),
      'ERR_INVALID_ARGUMENT',
      /device.*'tpu'/,
    ],
  ];
  it.each(calls)('%s', async (what, run, code, message) => {
    const named = new RegExp(`^${name}: .*${message.source}`);
    await expectFailure([what, run, code, named], file);
  });
});
