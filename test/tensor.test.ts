import { Tensor as OrtTensor } from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import {
  entmaxHead,
  entmaxSync,
  PrototypeHead,
  qMarginLossSync,
  sgd,
  sparseEntmaxSync,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { normalTensor, randomLabels } from './helpers/random.js';

const plain = normalTensor(4, 7, 1, 0.3);
const labels = randomLabels(4, 7, 2);

/** A tensor as transformers.js makes them: a proxy around one of onnxruntime. */
function proxyOf(ortTensor: OrtTensor): TensorLike {
  const wrapper = {
    get type() {
      return ortTensor.type;
    },
    get data() {
      return ortTensor.data;
    },
    get dims() {
      return ortTensor.dims;
    },
  };
  return new Proxy(wrapper, { get: (target, key) => Reflect.get(target, key) });
}

/** A window on a larger buffer, as views of memory-mapped files are. */
function windowOf(data: Float32Array): Float32Array {
  const all = new Float32Array(data.length + 10).fill(Number.NaN);
  all.set(data, 3);
  return all.subarray(3, 3 + data.length);
}

const forms: [string, TensorLike][] = [
  ['dims', { data: plain.data, dims: plain.dims }],
  ['shape', { type: 'float32', data: plain.data, shape: [4, 7] }],
  ['an onnxruntime tensor', new OrtTensor('float32', plain.data, [4, 7])],
  [
    'a tensor of transformers.js',
    proxyOf(new OrtTensor('float32', plain.data, [4, 7])),
  ],
  ['frozen sizes', { ...plain, dims: Object.freeze([4, 7]) }],
  ['a window', { data: windowOf(plain.data), dims: [4, 7] }],
];

describe('labels', () => {
  const expected = qMarginLossSync(plain, Int32Array.of(0, 6, 2, 3)).loss;

  it.each([
    ['int64', BigInt64Array.of(0n, 6n, 2n, 3n)],
    ['plain numbers', [0, 6, 2, 3]],
    ['an int64 tensor', { data: BigInt64Array.of(0n, 6n, 2n, 3n), dims: [4] }],
  ])('are accepted as %s', (_, given) => {
    expect(qMarginLossSync(plain, given).loss).toEqual(expected);
  });

  it.each([
    ['that would wrap around', BigInt64Array.of(0n, 6n, 2n ** 32n, 3n)],
    ['that are no whole numbers', [0, 6, 2.5, 3]],
    ['that are text', ['0', '6', '2', '3']],
  ])('%s are refused', (_, given) => {
    expect(() => qMarginLossSync(plain, given as number[])).toThrow(
      /expected labels\[\d\] to be a whole number that fits 32 bits/,
    );
  });
});

describe.each(forms)('a tensor given as %s', (_, given) => {
  it('is accepted by posteriors', () => {
    expect(entmaxSync(given)).toEqual(entmaxSync(plain));
    expect(sparseEntmaxSync(given)).toEqual(sparseEntmaxSync(plain));
  });

  it('is accepted by losses, with labels as a tensor too', () => {
    const expected = qMarginLossSync(plain, labels);
    const received = qMarginLossSync(
      given,
      new OrtTensor('int32', labels, [4]),
    );
    expect(received.loss).toEqual(expected.loss);
    expect(received.backwardSync()).toEqual(expected.backwardSync());
  });

  it('is accepted by heads', async () => {
    using head = new PrototypeHead({
      identities: 7,
      dim: 7,
      loss: entmaxHead({ alpha: 1.5, scale: 4 }),
      optimizer: sgd(),
    });
    const expected = head.evaluateSync(plain, labels);
    expect(head.evaluateSync(given, labels)).toEqual(expected);
    expect(await head.nearest(given)).toEqual(await head.nearest(plain));
    await head.setPrototypes(given, Int32Array.of(6, 1, 2, 3));
    expect((await head.prototypes(Int32Array.of(6, 1, 2, 3))).data).toEqual(
      plain.data,
    );
  });
});

describe('tensor', () => {
  it('shares its data and copies its sizes', () => {
    const data = new Float32Array(6);
    const dims = [2, 3];
    const made = tensor(data, dims);
    dims[0] = 9;
    expect(made).toEqual({ type: 'float32', data, dims: [2, 3] });
    expect(made.data).toBe(data);
  });

  it('results are plain objects that onnxruntime accepts', () => {
    const { type, data, dims } = entmaxSync(plain);
    expect(type).toBe('float32');
    expect(data).toBeInstanceOf(Float32Array);
    expect(Array.isArray(dims) && dims.join()).toBe('4,7');
  });
});
