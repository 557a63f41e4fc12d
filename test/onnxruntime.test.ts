import { readFileSync } from 'node:fs';
import { Tensor } from 'onnxruntime-common';
import { describe, expect, it } from 'vitest';
import {
  entmaxSync,
  type LabelsLike,
  PrototypeHead,
  qMargin,
  qMarginLossSync,
  scoreTrials,
  sgd,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { type BadCall, expectFailure, wrong } from './helpers/failures.js';
import { normalTensor, randomLabels } from './helpers/random.js';

/*
 * Tensors of the package onnxruntime-common, which onnxruntime-node, onnxruntime-web and
 * transformers.js share.
 */

const [ROWS, DIM] = [4, 7];
const { data } = normalTensor(ROWS, DIM, 1, 0.3);
const float32 = new Tensor('float32', data, [ROWS, DIM]);
const labels = randomLabels(ROWS, DIM, 2);
const int32 = new Tensor('int32', labels, [ROWS]);
const int64 = new Tensor('int64', BigInt64Array.from(labels, BigInt), [ROWS]);

/** Bits of float16 numbers that are whole, so that both types say the same: 0, 1, 2, −1. */
const bits = Uint16Array.of(0x0000, 0x3c00, 0x4000, 0xbc00);
const halves: [string, TensorLike][] = [
  ['as bits', { type: 'float16', data: bits, dims: [2, 2] }],
];
const { Float16Array } = globalThis as unknown as {
  Float16Array?: new (buffer: ArrayBufferLike) => ArrayBufferView;
};
if (Float16Array === undefined) {
  halves.push(['of onnxruntime', new Tensor('float16', bits, [2, 2])]);
} else {
  // Node 24 and newer: onnxruntime makes and takes nothing else.
  const half = new Float16Array(bits.buffer);
  halves.push(
    ['of onnxruntime', new Tensor('float16', half as never, [2, 2])],
    ['without a type', { data: half, dims: [2, 2] }],
  );
}

const makeHead = () =>
  new PrototypeHead({
    identities: DIM,
    dim: DIM,
    loss: qMargin({ scale: 16 }),
    optimizer: sgd(),
  });

describe('tensors of onnxruntime', () => {
  it.each(halves)('float16 %s', (_, half) => {
    const whole = new Tensor('float32', Float32Array.of(0, 1, 2, -1), [2, 2]);
    expect(entmaxSync(half)).toEqual(entmaxSync(whole));
  });

  it.each([
    ['int32', int32],
    ['int64', int64],
    ['int64, one column', int64.reshape([ROWS, 1])],
  ])('labels of type %s', async (_, given) => {
    using head = makeHead();
    using twin = makeHead();
    const { loss } = await head.step(float32, given);
    expect(loss).toBe((await twin.step(float32, labels)).loss);
  });

  it('verification', async () => {
    const two = Int32Array.of(0, 0, 1, 1);
    expect(
      await scoreTrials(float32, {
        labels: new Tensor('int32', two, [4]) as never,
      }),
    ).toEqual(await scoreTrials({ data, dims: [ROWS, DIM] }, { labels: two }));
  });

  it('are made of results', async () => {
    const { type, data: values, dims } = entmaxSync(float32);
    const made = new Tensor(type, values, dims);
    expect(made.dims).toEqual([ROWS, DIM]);
    expect(entmaxSync(made).dims).toEqual([ROWS, DIM]);
  });
});

describe('tensors of onnxruntime that are refused', () => {
  const loss = (x: unknown, y: unknown = int32) =>
    qMarginLossSync(x as TensorLike, y as LabelsLike);
  const gone = new Tensor('float32', data.slice(), [ROWS, DIM]);
  gone.dispose();
  const goneLabels = new Tensor('int32', labels.slice(), [ROWS]);
  goneLabels.dispose();
  const onGpu = Tensor.fromGpuBuffer(wrong({}) as never, {
    dataType: 'float32',
    dims: [ROWS, DIM],
  });
  const doubles = new Tensor('float64', Float64Array.from(data), [ROWS, DIM]);
  const calls: BadCall[] = [
    [
      'disposed',
      () => loss(gone),
      'ERR_INVALID_ARGUMENT',
      /cosines to be a tensor that can be read: The tensor is disposed/,
    ],
    [
      'on a GPU',
      () => loss(onGpu),
      'ERR_INVALID_ARGUMENT',
      /cosines to be a tensor that can be read: .*getData/,
    ],
    [
      'float64',
      () => loss(doubles),
      'ERR_INVALID_ARGUMENT',
      /Float32Array.*Float64Array/,
    ],
    [
      'three axes',
      () => loss(float32.reshape([2, 2, DIM])),
      'ERR_INVALID_ARGUMENT',
      /cosines.dims to be 2 sizes/,
    ],
    [
      'disposed labels',
      () => loss(float32, goneLabels),
      'ERR_INVALID_ARGUMENT',
      /labels to be a tensor that can be read/,
    ],
    [
      'float labels',
      () =>
        loss(float32, new Tensor('float32', Float32Array.from(labels), [ROWS])),
      'ERR_INVALID_ARGUMENT',
      /labels to be an Int32Array, a BigInt64Array/,
    ],
    [
      'labels of 8 bits',
      () => loss(float32, new Tensor('uint8', Uint8Array.from(labels), [ROWS])),
      'ERR_INVALID_ARGUMENT',
      /labels to be an Int32Array, a BigInt64Array/,
    ],
    [
      'an int64 label that is no class',
      () =>
        loss(
          float32,
          new Tensor('int64', BigInt64Array.of(0n, 1n, 7n, 2n), [ROWS]),
        ),
      'ERR_LABEL_RANGE',
      /labels\[2\].*7/,
    ],
    [
      'an int64 label beyond 32 bits',
      () =>
        loss(
          float32,
          new Tensor('int64', BigInt64Array.of(0n, 2n ** 40n, 1n, 2n), [ROWS]),
        ),
      'ERR_INVALID_ARGUMENT',
      /labels\[1\] to be a whole number that fits 32 bits but received 1099511627776n/,
    ],
  ];

  it.each(calls)('%s', async (...call) => {
    await expectFailure(call, 'onnxruntime.test.ts');
  });
});

it('the extraction of docs/onnx.md takes batches of ordinary size', async () => {
  const page = new URL('../docs/onnx.md', import.meta.url);
  const blocks = readFileSync(page, 'utf8').matchAll(/^```js\n(.*?)^```$/gms);
  const [extraction] = [...blocks].map(([, block]) => block!);
  // onnxruntime-node is no dependency: a stand-in for the model, with 512 numbers for each face.
  const [rows, dim] = [256, 512];
  const session = {
    inputNames: ['pixels'],
    outputNames: ['embedding'],
    run: async ({ pixels }: { pixels: Tensor }) => {
      const first = (pixels.data as Float32Array)[0]!;
      const made = new Float32Array(rows * dim).fill(first);
      return { embedding: new Tensor('float32', made, [rows, dim]) };
    },
  };
  async function* batches() {
    for (let batch = 0; batch < 2; batch += 1) {
      const pixels = new Float32Array(rows * 3 * 112 * 112).fill(batch);
      yield { pixels, labels: new Int32Array(rows).fill(batch) };
    }
  }
  const written = new Map<string, TensorLike>();
  const names = {
    InferenceSession: { create: async () => session },
    Tensor,
    batches,
    tensor,
    writeNpy: async (path: string, array: TensorLike) => {
      written.set(path, array);
    },
  };
  const program = extraction!.replaceAll(/^import .*$/gm, '');
  const Program = Object.getPrototypeOf(async () => {}).constructor;
  await new Program(...Object.keys(names), program)(...Object.values(names));
  const of = (size: number) =>
    Array.from({ length: 2 * size }, (_, at) => Math.floor(at / size));
  expect(written.get('features.npy')).toEqual({
    type: 'float32',
    data: Float32Array.from(of(rows * dim)),
    dims: [2 * rows, dim],
  });
  expect(written.get('identities.npy')).toEqual({
    type: 'int32',
    data: Int32Array.from(of(rows)),
    dims: [2 * rows],
  });
});
