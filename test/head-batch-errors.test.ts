import { describe, expect, it } from 'vitest';
import {
  entmaxHead,
  PrototypeHead,
  type PrototypeHeadOptions,
  sgd,
  type TensorLike,
  tensor,
} from '../lib/index.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import { normalTensor } from './helpers/random.js';

const file = 'head-batch-errors.test.ts';
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

const wrong = (value: unknown) => value as TensorLike;
const invalid = 'ERR_INVALID_ARGUMENT';

/** What every method that takes a batch refuses. */
const badBatches: [string, TensorLike, Int32Array, BadCall[2], RegExp][] = [
  [
    'another width',
    normalTensor(3, 5, 1),
    labels,
    invalid,
    /\[B, 4\].*\[3, 5\]/,
  ],
  [
    'an empty batch',
    tensor(new Float32Array(0), [0, 4]),
    new Int32Array(0),
    invalid,
    /B >= 1/,
  ],
  ['a flat tensor', tensor(good.data, [12]), labels, invalid, /2 sizes/],
  ['no tensor', wrong(null), labels, invalid, /a tensor but received null/],
  [
    'NaN in a row',
    broken(2, Number.NaN),
    labels,
    'ERR_NON_FINITE',
    /embeddings row 2/,
  ],
  [
    'an infinity in a row',
    broken(0, 1 / 0),
    labels,
    'ERR_NON_FINITE',
    /embeddings row 0/,
  ],
  [
    'an embedding of norm 0',
    broken(1, 0),
    labels,
    invalid,
    /embeddings row 1.*norm/,
  ],
  [
    'an embedding too short to have a direction',
    broken(1, 1e-38),
    labels,
    invalid,
    /row 1.*norm/,
  ],
  ['an embedding too long', broken(1, 3e38), labels, invalid, /row 1.*norm/],
  [
    'a label beyond the identities',
    good,
    Int32Array.of(1, 20, 0),
    'ERR_LABEL_RANGE',
    /labels\[1\].*\[0, 20\).*20/,
  ],
  [
    'a negative label',
    good,
    Int32Array.of(1, 0, -5),
    'ERR_LABEL_RANGE',
    /labels\[2\].*-5/,
  ],
  ['too many labels', good, new Int32Array(4), invalid, /3 rows/],
  [
    'labels of another type',
    good,
    wrong(Float32Array.of(1, 2, 3)) as unknown as Int32Array,
    invalid,
    /Int32Array/,
  ],
];

const methods = {
  step: (head, x, y) => head.step(x, y),
  stepSync: (head, x, y) => head.stepSync(x, y),
  evaluate: (head, x, y) => head.evaluate(x, y),
  evaluateSync: (head, x, y) => head.evaluateSync(x, y),
  posterior: (head, x, y) => head.posterior(x, y),
  posteriorSync: (head, x, y) => head.posteriorSync(x, y),
  reinitialize: (head, x, y) =>
    head.reinitialize([{ embeddings: x, labels: y }]),
} satisfies Record<
  string,
  (head: PrototypeHead, x: TensorLike, y: Int32Array) => unknown
>;

describe.each(Object.entries(methods))('%s refuses', (name, method) => {
  it.each(badBatches)(
    '%s, and changes nothing',
    async (what, embeddings, classes, code, message) => {
      using head = newHead();
      using other = newHead();
      head.stepSync(good, labels);
      other.stepSync(good, labels);
      const before = await head.prototypes();
      const named = new RegExp(`PrototypeHead\\.${name}: .*${message.source}`);
      await expectFailure(
        [what, () => method(head, embeddings, classes), code, named],
        file,
      );
      expect(await head.prototypes()).toEqual(before);
      // Nor is the momentum another one.
      head.stepSync(good, labels);
      other.stepSync(good, labels);
      expect(await head.prototypes()).toEqual(await other.prototypes());
    },
  );
});
