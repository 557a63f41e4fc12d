import { describe, expect, it } from 'vitest';
import {
  cosFace,
  entmaxBackwardSync,
  entmaxHead,
  entmaxSync,
  PrototypeHead,
  qMargin,
  qMarginLossSync,
  sgd,
  tensor,
} from '../lib/index.js';
import { contract } from './helpers/contract.js';
import { emulated } from './helpers/emulation.js';
import { referenceRow } from './helpers/reference.js';

describe('numerical hostility', () => {
  it('a velocity made by a very short prototype is remembered', async () => {
    using head = new PrototypeHead({
      identities: 3,
      dim: 2,
      loss: cosFace(),
      optimizer: sgd({ learningRate: 1e-3, momentum: 0.99 }),
      prototypes: tensor(Float32Array.of(1e-25, 0, 0, 1, 1, 1), [3, 2]),
    });
    const embeddings = tensor(Float32Array.of(0.3, 1), [1, 2]);
    await head.step(embeddings, [0]);
    const before = await head.prototypes();
    head.learningRate = 1e13;
    await expect(head.step(embeddings, [0])).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
    expect(await head.prototypes()).toEqual(before);
    expect(before.data.every(Number.isFinite)).toBe(true);
  });

  it('the shortest and the longest prototype are found wherever they are', async () => {
    // The emulated device solves so many equal classes for seconds.
    const identities = emulated ? 555 : 65_555;
    const places = [0, 17, 65_535, 65_536, identities - 1];
    using head = new PrototypeHead({
      identities,
      dim: 2,
      loss: entmaxHead({ alpha: 2, scale: 1e-3 }),
      optimizer: sgd({ learningRate: 1e13, weightDecay: 9e-14 }),
      prototypes: tensor(new Float32Array(2 * identities).fill(1), [
        identities,
        2,
      ]),
    });
    const embeddings = tensor(Float32Array.of(1, 1), [1, 2]);
    await head.step(embeddings, [0]);
    for (const place of places.filter((each) => each < identities)) {
      for (const length of [1e-26, 6e29]) {
        const set = (value: number) =>
          head.setPrototypes(
            tensor(Float32Array.of(value, value), [1, 2]),
            Int32Array.of(place),
          );
        await set(length);
        await expect(
          head.step(embeddings, [0]),
          `${length} at ${place}`,
        ).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
        await set(1);
      }
    }
    await head.step(embeddings, [0]);
  });

  // The step is float32 arithmetic: such a rate would be an infinity there.
  it.each([0, 0.9])(
    'a learning rate beyond float32 is refused, momentum %d',
    async (momentum) => {
      using head = new PrototypeHead({
        identities: 3,
        dim: 2,
        loss: cosFace(),
        optimizer: sgd({ learningRate: 1e38, momentum }),
        prototypes: tensor(
          Float32Array.of(1e20, 0, 0, 1e20, 1e20, 1e20),
          [3, 2],
        ),
      });
      const embeddings = tensor(Float32Array.of(0.3, 1), [1, 2]);
      await head.step(embeddings, [0]);
      const before = await head.prototypes();
      expect(before.data.every(Number.isFinite)).toBe(true);
      head.learningRate = 1e39;
      await expect(head.step(embeddings, [0])).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      });
      expect(await head.prototypes()).toEqual(before);
    },
  );

  it.each([
    [2.5, 1e10],
    [3, 1e8],
    [5, 1e4],
  ])('α %d with a measure of %d: nobody is lost', (alpha, measure) => {
    const scale = 20 / (alpha - 1);
    const margin = 0.2;
    const reference = [1, Math.fround(measure)];
    for (let i = 0; i < 200; i += 1) {
      const cosines = [0.9 - i / 512, 0.1 - i / 1024].map(Math.fround);
      const result = qMarginLossSync(
        tensor(Float32Array.from(cosines), [1, 2]),
        [0],
        { alpha, scale, margin, reference: Float32Array.from(reference) },
      );
      const expected = referenceRow(
        qMargin({ alpha, scale, margin }),
        cosines,
        0,
        reference,
      );
      const received = result.backwardSync().data[1]! / scale;
      expect(Math.abs(received - expected.posterior[1]!)).toBeLessThanOrEqual(
        contract.posterior,
      );
    }
  });

  // Rows of the third length are solved by many blocks on a device.
  it.each([2, 8_193, 20_000])(
    'measures whose power leaves float64 are refused: %d classes',
    (classes) => {
      const logits = new Float32Array(2 * classes).fill(-1);
      logits[0] = 0;
      // 1e4^(1 − α) is 0.
      expect(() =>
        entmaxSync(tensor(logits, [2, classes]), {
          alpha: 100,
          reference: new Float32Array(classes).fill(1e4),
        }),
      ).toThrow(
        /alpha and reference to keep q\^\(1-alpha\) within float64 but it is 0$/,
      );
    },
  );

  it.each([
    ['kept', undefined],
    ['streamed again', 0],
  ])('a tiny measure at the best class, rows %s', async (_, scratchBudget) => {
    const identities = 40;
    const reference = new Float32Array(identities).fill(1);
    reference[0] = 1e-38;
    using head = new PrototypeHead({
      identities,
      dim: 2,
      loss: entmaxHead({ alpha: 10, scale: 1 }),
      optimizer: sgd(),
      prototypes: tensor(
        Float32Array.from({ length: 2 * identities }, (_, i) =>
          i % 2 === 0 ? 1 : i / 4096,
        ),
        [identities, 2],
      ),
      reference,
      ...(scratchBudget === undefined ? {} : { scratchBudget }),
    });
    const rows = await head.posterior(tensor(Float32Array.of(1, 0), [1, 2]));
    const sum = rows.values.reduce((total, p) => total + p, 0);
    expect(Math.abs(sum - 1)).toBeLessThanOrEqual(contract.posterior);
  });

  it('a gallery of equal prototypes: ties go to the smaller identity', async () => {
    const identities = 20_000;
    using head = new PrototypeHead({
      identities,
      dim: 2,
      loss: qMargin(),
      optimizer: sgd(),
      prototypes: tensor(new Float32Array(2 * identities).fill(1), [
        identities,
        2,
      ]),
    });
    await head.setPrototypes(
      tensor(Float32Array.of(1, 0.9), [1, 2]),
      Int32Array.of(15_000),
    );
    const queries = tensor(Float32Array.of(1, 1, 1, 0.9), [2, 2]);
    const { identities: best } = await head.nearest(queries, { k: 3 });
    expect([...best]).toEqual([0, 1, 2, 15_000, 0, 1]);
  });

  it('a derivative through a posterior of 1e-20 at α 20 stays finite', () => {
    const posterior = tensor(Float32Array.of(1, 1e-20), [1, 2]);
    const upstream = tensor(Float32Array.of(1, 0), [1, 2]);
    const options = { alpha: 20 };
    const { data } = entmaxBackwardSync(upstream, posterior, options);
    // Nearly all weight is on the second class, so the mean of v is 0: u_1 (v_1 − 0) = 1.
    expect([...data]).toEqual([1, -1]);
  });

  it('no prototypes can be replaced by none', async () => {
    using head = new PrototypeHead({
      identities: 3,
      dim: 2,
      loss: qMargin(),
      optimizer: sgd(),
    });
    const before = await head.prototypes();
    await head.setPrototypes(
      tensor(new Float32Array(0), [0, 2]),
      new Int32Array(0),
    );
    expect(await head.prototypes()).toEqual(before);
  });
});
