import { describe, expect, it } from 'vitest';
import {
  AlphaMarginError,
  entmax,
  entmaxSync,
  openSafetensors,
  PrototypeHead,
  qMargin,
  readNpy,
  scoreTrials,
  sgd,
  type TensorLike,
  tarAtFar,
  templateEmbeddings,
  trialScoresFrom,
  writeSafetensors,
} from '../lib/index.js';
import { contract } from './helpers/contract.js';
import { useTemporaryDirectory } from './io/temporary-directory.js';

/*
 * What the boundary part of the reliability suite found once. It calls every function with far more of
 * this; see docs/reliability.md.
 */

const file = useTemporaryDirectory();
const anything = (value: unknown) => value as never;

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

const newHead = () =>
  new PrototypeHead({
    identities: 9,
    dim: 4,
    loss: qMargin({ scale: 8 }),
    optimizer: sgd(),
  });

const x = () => ({
  data: Float32Array.from({ length: 8 }, (_, i) => i + 1),
  dims: [2, 4],
});

describe('arrays that lie', () => {
  const detached = () => {
    const data = new Float32Array(8).fill(1);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    return data;
  };
  const longer = () =>
    Object.defineProperty(new Float32Array(8), 'length', { value: 2 ** 31 });
  class Sliced extends Float32Array {
    override slice() {
      return 'x' as never;
    }
  }
  it.each([
    ['detached', detached],
    ['an inherited prototype', () => Object.create(Float32Array.prototype)],
    ['a proxy', () => new Proxy(new Float32Array(8), {})],
    ['another length', longer],
  ])('%s: refused', async (_, make) => {
    using head = newHead();
    const data: Float32Array = make();
    const dims = [data instanceof Float32Array ? 2 : 0, 4];
    for (const call of [
      () => head.step({ data, dims: [2 ** 29, 4] }, [0, 1]),
      () => entmax(anything({ data, dims: [2 ** 29, 4] })),
      () => head.setPrototypes({ data, dims: [...dims, 1] }),
    ]) {
      expect(await failureOf(call)).toBeInstanceOf(AlphaMarginError);
    }
  });

  it('methods of a subclass are not asked', async () => {
    using head = newHead();
    const data = Sliced.from(x().data) as Float32Array;
    const plain = head.evaluateSync(x(), [0, 1]);
    expect(head.evaluateSync({ data, dims: [2, 4] }, [0, 1])).toEqual(plain);
  });

  it('memory that goes while another argument is read', async () => {
    using head = newHead();
    const { data } = x();
    const labels = {
      get data() {
        structuredClone(data.buffer, { transfer: [data.buffer] });
        return Int32Array.of(0, 1);
      },
      dims: [2],
    };
    const result = await head.step({ data, dims: [2, 4] }, labels);
    expect(result.losses).toHaveLength(2); // copied before
    const again = x().data;
    const sizes = {
      data: again,
      get dims() {
        structuredClone(again.buffer, { transfer: [again.buffer] });
        return [2, 4];
      },
    };
    expect(await failureOf(() => entmaxSync(sizes))).toBeDefined();
  });
});

describe('sizes', () => {
  it('a list of 2^32 sizes is not walked through', async () => {
    const dims = new Array(2 ** 32 - 1) as number[];
    expect(
      await failureOf(() => entmaxSync({ data: new Float32Array(2), dims })),
    ).toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });

  it('chunks of no rows are refused, not repeated for ever', async () => {
    await writeSafetensors(file('x'), {
      tensors: [
        { name: 'x', dtype: 'U8', shape: [2], chunks: [new Uint8Array(2)] },
      ],
    });
    await using opened = await openSafetensors(file('x'));
    for (const rowsPerChunk of [0, -1, 0.5, Number.NaN]) {
      const failure = await failureOf(() =>
        opened.rows('x', { rowsPerChunk }).next(),
      );
      expect(failure).toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    }
  });
});

describe('signals', () => {
  it.each([null, 0, 'enough'])('the reason %o comes back', async (reason) => {
    using head = newHead();
    const controller = new AbortController();
    const first = head.step(x(), [0, 1]);
    const call = head.step(x(), [0, 1], { signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    await first;
  });

  it('what only inherits from AbortSignal is refused', async () => {
    const signal = Object.create(AbortSignal.prototype);
    const proxy = new Proxy(new AbortController().signal, {});
    for (const wrong of [signal, proxy, {}]) {
      const options = anything({ signal: wrong });
      for (const call of [
        () => entmax({ data: new Float32Array(2), dims: [1, 2] }, options),
        () => scoreTrials(x(), { labels: Int32Array.of(0, 1) }, options),
      ]) {
        expect(await failureOf(call)).toMatchObject({
          code: 'ERR_INVALID_ARGUMENT',
        });
      }
    }
  });
});

it("an error of the caller's own code comes back", async () => {
  const failure = new Error('mine');
  const options = {
    get alpha(): number {
      throw failure;
    },
  };
  const tensor: TensorLike = { data: new Float32Array(2), dims: [1, 2] };
  expect(await failureOf(() => entmaxSync(tensor, options))).toBe(failure);
  const hostile = anything({
    get data() {
      throw failure;
    },
  });
  expect(await failureOf(() => entmaxSync(hostile))).toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    cause: failure,
  });
});

it('nothing, or the wrong thing, in place of an object', async () => {
  const scores = trialScoresFrom(Float32Array.of(1), Float32Array.of(0));
  for (const call of [
    () => readNpy(anything(null)),
    () => readNpy('a\0b'),
    () => writeSafetensors(file('y'), anything(null)),
    () => templateEmbeddings(anything(null), anything(null)),
    () => tarAtFar({ ...scores, thresholds: anything([1]) }),
    () => scoreTrials(x(), { trials: anything({ names: 3 }) }),
  ]) {
    expect(await failureOf(call)).toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  }
});

it('a measure beside huge logits is not lost in softmax', () => {
  const data = Float32Array.of(-2.5e33, -2.5e33);
  const options = { alpha: 1, reference: Float32Array.of(2, 6) };
  const posterior = entmaxSync({ data, dims: [1, 2] }, options).data;
  [0.25, 0.75].forEach((expected, j) => {
    const error = Math.abs(posterior[j]! - expected);
    expect(error).toBeLessThanOrEqual(contract.posterior);
  });
});
