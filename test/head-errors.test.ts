import { describe, expect, it } from 'vitest';
import {
  type Device,
  entmaxHead,
  type LossSpecification,
  type OptimizerSpecification,
  PrototypeHead,
  type PrototypeHeadOptions,
  qMargin,
  sgd,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import { normalTensor } from './helpers/random.js';

const file = 'head-errors.test.ts';
const [identities, dim] = [20, 4] as const;

function newHead(options: Partial<PrototypeHeadOptions> = {}): PrototypeHead {
  return new PrototypeHead({
    identities,
    dim,
    loss: entmaxHead({ alpha: 1.5, scale: 4 }),
    optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
    ...options,
  });
}

const good = normalTensor(3, dim, 1);
const labels = Int32Array.of(1, 19, 0);

/** The good batch with one row filled with a value. */
function broken(row: number, value: number): TensorLike {
  const data = good.data.slice();
  data.fill(value, row * dim, (row + 1) * dim);
  return { ...good, data };
}

const invalid = 'ERR_INVALID_ARGUMENT';

describe('other methods refuse, and change nothing,', () => {
  const calls: [
    string,
    (head: PrototypeHead) => unknown,
    BadCall[2],
    RegExp,
  ][] = [
    ['k of 0', (head) => head.nearest(good, { k: 0 }), invalid, /k.*\[1, 20\]/],
    [
      'k beyond C',
      (head) => head.nearestSync(good, { k: 21 }),
      invalid,
      /k.*21/,
    ],
    [
      'NaN queries',
      (head) => head.nearest(broken(1, Number.NaN)),
      'ERR_NON_FINITE',
      /queries row 1/,
    ],
    [
      'queries of norm 0',
      (head) => head.nearestSync(broken(2, 0)),
      invalid,
      /queries row 2/,
    ],
    [
      'identities out of range',
      (head) => head.prototypes(Int32Array.of(0, 20)),
      invalid,
      /identities\[1\].*20/,
    ],
    [
      'identities as numbers',
      (head) => head.prototypes([1] as unknown as Int32Array),
      invalid,
      /Int32Array/,
    ],
    [
      'prototypes of another size',
      (head) => head.setPrototypes(good),
      invalid,
      /\[20, 4\]/,
    ],
    [
      'a NaN prototype',
      (head) => head.setPrototypes(broken(1, Number.NaN), labels),
      'ERR_NON_FINITE',
      /row 1/,
    ],
    [
      'a prototype of norm 0',
      (head) => head.setPrototypes(broken(2, 0), labels),
      invalid,
      /row 2.*norm/,
    ],
    [
      'float16 prototypes',
      (head) =>
        head.setPrototypes({
          type: 'float16',
          data: new Uint16Array(80),
          dims: [20, 4],
        }),
      invalid,
      /float32/,
    ],
    [
      'a learning rate of NaN',
      (head) => {
        head.learningRate = Number.NaN;
      },
      invalid,
      /learningRate/,
    ],
    [
      'a loss that is none',
      (head) => {
        head.loss = {} as LossSpecification;
      },
      invalid,
      /loss/,
    ],
    [
      'a loss of α 0',
      (head) => {
        head.loss = { ...qMargin(), alpha: 0 };
      },
      invalid,
      /alpha/,
    ],
    [
      'a learning rate that leaves float32',
      (head) => {
        head.learningRate = 1e38;
        return head.step(good, labels);
      },
      invalid,
      /learningRate.*float32/,
    ],
    [
      're-initialised identities out of range',
      (head) => head.reinitialize([], { identities: Int32Array.of(-1) }),
      invalid,
      /identities\[0\]/,
    ],
  ];
  it.each(calls)('%s', async (what, call, code, message) => {
    using head = newHead();
    head.stepSync(good, labels);
    const before = await head.prototypes();
    await expectFailure([what, () => call(head), code, message], file);
    expect(await head.prototypes()).toEqual(before);
  });
});

describe('the constructor refuses', () => {
  const calls: [string, object, BadCall[2], RegExp][] = [
    [
      'no identities',
      { identities: 0 },
      invalid,
      /identities.*\[1, 2147483647\]/,
    ],
    ['too many identities', { identities: 2 ** 31 }, invalid, /identities/],
    ['a broken width', { dim: 2.5 }, invalid, /dim/],
    ['a negative seed', { seed: -1 }, invalid, /seed/],
    ['no loss', { loss: undefined }, invalid, /loss/],
    [
      'a loss of NaN scale',
      { loss: { ...qMargin(), scale: Number.NaN } },
      invalid,
      /scale/,
    ],
    [
      'no optimiser',
      { optimizer: null as unknown as OptimizerSpecification },
      invalid,
      /optimizer/,
    ],
    [
      'an unknown optimiser',
      { optimizer: { ...sgd(), kind: 'adam' } },
      invalid,
      /'adam'/,
    ],
    [
      'an optimiser with a field of another name',
      { optimizer: { ...sgd(), momentun: 0.9 } },
      invalid,
      /optimizer.*'momentun'/,
    ],
    ['a precision of its own', { precision: 'half' }, invalid, /precision/],
    ['a negative budget', { scratchBudget: -1 }, invalid, /scratchBudget/],
    [
      'a reference of 0',
      { reference: new Float32Array(20) },
      invalid,
      /reference\[0\]/,
    ],
    [
      'a short reference',
      { reference: Float32Array.of(1) },
      invalid,
      /20 positive/,
    ],
    ['prototypes of another size', { prototypes: good }, invalid, /\[20, 4\]/],
    [
      'a NaN prototype',
      { prototypes: tensor(new Float32Array(80).fill(Number.NaN), [20, 4]) },
      'ERR_NON_FINITE',
      /prototypes row 0/,
    ],
    [
      'a GPU that is not there',
      { device: 'cuda:999' },
      'ERR_DEVICE',
      /'cuda:999' cannot be used: ./,
    ],
    [
      'an unknown device',
      { device: 'gpu' as Device },
      invalid,
      /device.*'gpu'/,
    ],
    [
      'more than memory holds',
      { identities: 2 ** 31 - 1, dim: 2 ** 31 - 1 },
      'ERR_OUT_OF_MEMORY',
      /PrototypeHead: /,
    ],
  ];
  it.each(calls)('%s', (what, options, code, message) =>
    expectFailure([what, () => newHead(options), code, message], file),
  );
});
