import { describe, expect, it } from 'vitest';
import {
  adagrad,
  arcFace,
  combinedMargin,
  entmax,
  entmaxHead,
  PrototypeHead,
  qMargin,
  qMarginLoss,
  sgd,
  tensor,
} from '../lib/index.js';

/** What JavaScript can pass although the types forbid it. */
const wrong = <T>(value: unknown) => value as T;

const cosines = tensor(Float32Array.of(0.5, 0.1), [1, 2]);
const logits = tensor(Float32Array.of(20, 3), [1, 2]);
const labels = Int32Array.of(0);

function newHead() {
  return new PrototypeHead({
    identities: 2,
    dim: 2,
    loss: qMargin(),
    optimizer: sgd(),
  });
}

describe('options', () => {
  it.each([
    ['qMargin', () => qMargin(wrong({ m: 0.5 })), "received 'm'"],
    ['qMargin', () => qMargin(wrong(null)), 'received null'],
    ['entmaxHead', () => entmaxHead(wrong({ margin: 0.2 })), "'margin'"],
    ['combinedMargin', () => combinedMargin(wrong({ margin: 1 })), "'margin'"],
    ['arcFace', () => arcFace({ margin: 28.6 }), 'a number in [0, π]'],
    ['sgd', () => sgd(wrong({ lr: 1 })), "received 'lr'"],
    ['adagrad', () => adagrad(wrong([])), 'options to be an object'],
    ['PrototypeHead', () => new PrototypeHead(wrong(undefined)), 'identities'],
    ['entmax', () => entmax(logits, wrong({ a: 1 })), "received 'a'"],
    ['qMarginLoss', () => qMarginLoss(cosines, labels, wrong(null)), 'null'],
    [
      'qMargin',
      () => qMarginLoss(cosines, labels, wrong(qMargin())),
      "received 'name'",
    ],
    ['qMarginLoss', () => qMarginLoss(logits, labels), 'not logits'],
    ['tensor', () => tensor(wrong(new Uint16Array(2)), [1, 2]), 'Float32Array'],
  ] as const)('of %s are checked', async (name, call, message) => {
    const failure = await (async () => call())().catch((error) => error);
    expect(failure).toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    expect(failure.message).toMatch(new RegExp(`^${name}: expected`));
    expect(failure.message).toContain(message);
  });

  it.each([
    [
      'a signal that is none',
      (head: PrototypeHead) =>
        head.step(cosines, labels, { signal: wrong(new AbortController()) }),
    ],
    ['null', (head: PrototypeHead) => head.step(cosines, labels, wrong(null))],
    ['a number', (head: PrototypeHead) => head.nearest(cosines, wrong(2))],
    [
      'metadata that is no text',
      (head: PrototypeHead) =>
        head.save('never-written.safetensors', {
          extra: { metadata: wrong({ epoch: 3 }) },
        }),
    ],
    ['no path', (head: PrototypeHead) => head.save(wrong(undefined))],
    ['no path to load', () => PrototypeHead.load(wrong(undefined))],
  ])('of a head are checked: %s', async (_, call) => {
    using head = newHead();
    await expect(call(head)).rejects.toMatchObject({
      name: 'AlphaMarginError',
      code: 'ERR_INVALID_ARGUMENT',
    });
  });

  it('abort a re-initialisation between batches', async () => {
    using head = newHead();
    const before = await head.prototypes();
    const controller = new AbortController();
    function* batches() {
      yield { embeddings: cosines, labels };
      controller.abort();
      yield { embeddings: cosines, labels };
    }
    await expect(
      head.reinitialize(batches(), { signal: controller.signal }),
    ).rejects.toThrow('aborted');
    expect(await head.prototypes()).toEqual(before);
  });
});
