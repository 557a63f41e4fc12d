import { describe, expect, it } from 'vitest';
import {
  AlphaMarginError,
  cosFace,
  entmax,
  PrototypeHead,
  qMargin,
  qMarginLoss,
  sgd,
  tensor,
} from '../lib/index.js';
import { expectSameBits } from './helpers/contract.js';
import { normalTensor, randomLabels } from './helpers/random.js';

function newHead(identities = 50, dim = 8): PrototypeHead {
  return new PrototypeHead({
    identities,
    dim,
    loss: qMargin({ alpha: 1.5, scale: 8 }),
    optimizer: sgd({ learningRate: 0.5, momentum: 0.9 }),
  });
}

function batchOf(seed: number, identities = 50, rows = 6, dim = 8) {
  return [
    normalTensor(rows, dim, seed),
    randomLabels(rows, identities, seed),
  ] as const;
}

/** Lets promise callbacks and the start of native work happen. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('concurrent calls of one head', () => {
  it('run in the order of the calls', async () => {
    using one = newHead();
    using other = newHead();
    const expected = [];
    for (let seed = 0; seed < 5; seed += 1) {
      expected.push(one.stepSync(...batchOf(seed)));
      expected.push(one.evaluateSync(...batchOf(0)));
    }
    const calls = [];
    for (let seed = 0; seed < 5; seed += 1) {
      calls.push(other.step(...batchOf(seed)), other.evaluate(...batchOf(0)));
    }
    expect(await Promise.all(calls)).toEqual(expected);
    expect(await other.prototypes()).toEqual(await one.prototypes());
  });

  it('read their arguments, the loss and the learning rate when they are made', async () => {
    using one = newHead();
    using other = newHead();
    const expected = one.stepSync(...batchOf(1));
    const [embeddings, labels] = batchOf(1);
    const promise = other.step(embeddings, labels);
    embeddings.data.fill(Number.NaN);
    labels.fill(-1);
    other.loss = cosFace();
    other.learningRate = 0;
    expect(await promise).toEqual(expected);
    expect(await other.prototypes()).toEqual(await one.prototypes());
  });

  // Their copies use the memory of earlier batches of the same size.
  it('keep their batches apart', async () => {
    const size = [50, 64, 128] as const;
    using one = newHead(50, 128);
    using other = newHead(50, 128);
    const seeds = [1, 2, 3, 4, 5, 6, 7];
    const half = (seed: number) => {
      const [embeddings, labels] = batchOf(seed, ...size);
      const data = Uint16Array.from(embeddings.data, (value) =>
        value < 0 ? 0xbc00 : 0x3c00,
      );
      return [
        { type: 'float16', data, dims: embeddings.dims },
        labels,
      ] as const;
    };
    const expected = seeds.flatMap((seed) => [
      one.evaluateSync(...batchOf(seed, ...size)),
      one.evaluateSync(...half(seed)),
    ]);
    const results = [];
    for (const seed of seeds) {
      const [embeddings, labels] = batchOf(seed, ...size);
      results.push(other.evaluate(embeddings, labels));
      embeddings.data.fill(Number.NaN);
      results.push(other.evaluate(...half(seed)));
      if (seed % 3 === 0) await Promise.allSettled(results);
    }
    const withoutStats = (all: (typeof expected)[number][]) =>
      all.map(({ stats, ...result }) => ({ ...result, at: stats.support }));
    expect(withoutStats(await Promise.all(results))).toEqual(
      withoutStats(expected),
    );
  });

  it('go on after one of them has failed', async () => {
    using head = newHead();
    const bad = head.step(batchOf(0)[0], new Int32Array(6).fill(50));
    const good = head.step(...batchOf(0));
    await expect(bad).rejects.toMatchObject({ code: 'ERR_LABEL_RANGE' });
    expect((await good).losses.length).toBe(6);
  });

  it('refuse a synchronous call meanwhile', async () => {
    using head = newHead();
    const [embeddings, labels] = batchOf(0);
    const pending = head.step(embeddings, labels);
    const calls = [
      () => head.stepSync(embeddings, labels),
      () => head.evaluateSync(embeddings, labels),
      () => head.posteriorSync(embeddings),
      () => head.nearestSync(embeddings),
    ];
    for (const call of calls) {
      expect(call).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }));
    }
    await pending;
    for (const call of calls) expect(call).not.toThrow();
  });
});

describe('dispose', () => {
  it('lets pending calls end', async () => {
    using reference = newHead();
    const head = newHead();
    const calls = [head.step(...batchOf(0)), head.step(...batchOf(1))];
    head.dispose();
    expect(await Promise.all(calls)).toEqual([
      reference.stepSync(...batchOf(0)),
      reference.stepSync(...batchOf(1)),
    ]);
    await turn();
    expect(head.memory().prototypes).toBe(0);
  });

  it('makes every later call fail, and may be repeated', async () => {
    const head = newHead();
    head.dispose();
    head[Symbol.dispose]();
    const [embeddings, labels] = batchOf(0);
    const calls: (() => unknown)[] = [
      () => head.step(embeddings, labels),
      () => head.evaluate(embeddings, labels),
      () => head.posterior(embeddings),
      () => head.nearest(embeddings),
      () => head.reinitialize([]),
      () => head.prototypes(),
      () => head.setPrototypes(normalTensor(50, 8, 1)),
      () => head.save('/nowhere/head'),
      async () => head.stepSync(embeddings, labels),
      async () => head.evaluateSync(embeddings, labels),
      async () => head.posteriorSync(embeddings),
      async () => head.nearestSync(embeddings),
    ];
    for (const call of calls) {
      const failure = await Promise.resolve(call()).catch((error) => error);
      expect(failure).toBeInstanceOf(AlphaMarginError);
      expect(failure).toMatchObject({ code: 'ERR_DISPOSED' });
    }
  });
});

describe('an AbortSignal', () => {
  it('that was aborted before stops every call', async () => {
    const signal = AbortSignal.abort(new Error('no longer needed'));
    using head = newHead();
    const before = await head.prototypes();
    const [embeddings, labels] = batchOf(0);
    const logits = normalTensor(2, 3, 1);
    for (const call of [
      head.step(embeddings, labels, { signal }),
      head.evaluate(embeddings, labels, { signal }),
      head.posterior(embeddings, null, { signal }),
      head.nearest(embeddings, { signal }),
      entmax(logits, { signal }),
      qMarginLoss(logits, Int32Array.of(0, 1), { signal }),
    ]) {
      await expect(call).rejects.toThrow('no longer needed');
    }
    expect(await head.prototypes()).toEqual(before);
  });

  it('stops a call that waits for its turn, and only that one', async () => {
    using head = newHead();
    using reference = newHead();
    const controller = new AbortController();
    const first = head.step(...batchOf(0));
    const second = head.step(...batchOf(1), { signal: controller.signal });
    const third = head.step(...batchOf(2));
    controller.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    expect(await first).toEqual(reference.stepSync(...batchOf(0)));
    expect(await third).toEqual(reference.stepSync(...batchOf(2)));
    expect(await head.prototypes()).toEqual(await reference.prototypes());
  });

  it.each(['step', 'evaluate', 'forward'] as const)(
    'stops a running %s',
    async (name) => {
      // Softmax over this many classes takes a good part of a second.
      using head = newHead(60_000, 64);
      head.loss = cosFace();
      const before = await head.prototypes();
      const controller = new AbortController();
      const [embeddings, labels] = batchOf(0, 60_000, 128, 64);
      const call = head[name](embeddings, labels, {
        signal: controller.signal,
      });
      const outcome = call.then(
        () => 'finished',
        (error) => error.name,
      );
      await turn();
      await turn();
      controller.abort();
      expect(await outcome).toBe('AbortError');
      expectSameBits((await head.prototypes()).data, before.data);
      expect((await head.nearest(batchOf(1, 9, 1, 64)[0])).cosines.length).toBe(
        1,
      );
    },
  );

  it('stops a running entmax', async () => {
    const logits = tensor(new Float32Array(4000 * 1000), [4000, 1000]);
    const controller = new AbortController();
    const call = entmax(logits, { alpha: 1.1, signal: controller.signal });
    await turn();
    controller.abort('enough');
    await expect(call).rejects.toBe('enough');
  });

  it('that is aborted afterwards changes nothing', async () => {
    const controller = new AbortController();
    using head = newHead();
    const result = await head.step(...batchOf(0), {
      signal: controller.signal,
    });
    controller.abort();
    expect(result.losses.length).toBe(6);
    expect((await head.step(...batchOf(0))).losses.length).toBe(6);
  });
});
