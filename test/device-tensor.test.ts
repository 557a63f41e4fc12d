import { describe, expect, it } from 'vitest';
import {
  DeviceTensor,
  entmax,
  entmaxBackward,
  entmaxSync,
  memory,
  PrototypeHead,
  qMargin,
  qMarginLoss,
  sgd,
  sparseEntmax,
  tensor,
} from '../lib/index.js';
import { native } from '../lib/native.js';
import { expectSameBits } from './helpers/contract.js';
import { emulated, onDevice, withEmulation } from './helpers/emulation.js';
import { normalTensor, randomLabels } from './helpers/random.js';

const logits = normalTensor(3, 40, 1);
const labels = randomLabels(3, 40, 2);

describe.runIf(!onDevice)('DeviceTensor without a GPU', () => {
  it.each(['auto', 'cpu'] as const)(
    'upload to %s is refused',
    async (device) => {
      const upload = DeviceTensor.upload(logits, { device });
      await expect(upload).rejects.toMatchObject({
        code: 'ERR_DEVICE',
        message: expect.stringContaining('the CPU'),
      });
    },
  );
});

describe.runIf(onDevice)('DeviceTensor', () => {
  it('brings back what it was given', async () => {
    using placed = await DeviceTensor.upload(logits);
    expect(placed).toMatchObject({ type: 'float32', location: 'cuda' });
    expect(placed.device).toMatch(/^cuda/);
    expect(placed.dims).toEqual([3, 40]);
    expectSameBits((await placed.getData()) as Float32Array, logits.data);
    expectSameBits(placed.getDataSync() as Float32Array, logits.data);
    const bits = { type: 'float16', data: Uint16Array.of(1, 2), dims: [2] };
    using half = DeviceTensor.uploadSync(bits);
    expect(half.getDataSync()).toEqual(bits.data);
    using empty = DeviceTensor.uploadSync({
      data: new Float32Array(0),
      dims: [0, 3],
    });
    expect(empty.getDataSync()).toHaveLength(0);
  });

  it('goes in and out of the functions, with the bits of host tensors', async () => {
    using placed = await DeviceTensor.upload(logits);
    using posterior = await entmax(placed, { alpha: 1.25 });
    const expected = await entmax(logits, { alpha: 1.25 });
    expect(posterior).toBeInstanceOf(DeviceTensor);
    expectSameBits(posterior.getDataSync() as Float32Array, expected.data);
    const rows = await sparseEntmax(placed, { alpha: 1.25 });
    expect(rows).toEqual(await sparseEntmax(logits, { alpha: 1.25 }));

    using back = await entmaxBackward(placed, posterior, { alpha: 1.25 });
    const expectedBack = await entmaxBackward(logits, expected, {
      alpha: 1.25,
    });
    expectSameBits(back.getDataSync() as Float32Array, expectedBack.data);

    const cosines = normalTensor(3, 40, 4, 0.2);
    using placedCosines = await DeviceTensor.upload(cosines);
    const loss = await qMarginLoss(placedCosines, labels);
    const expectedLoss = await qMarginLoss(cosines, labels);
    expectSameBits(loss.loss.data, expectedLoss.loss.data);
    using gradient = await loss.backward();
    const expectedGradient = await expectedLoss.backward();
    expectSameBits(
      gradient.getDataSync() as Float32Array,
      expectedGradient.data,
    );
  });

  it('goes through a head', async () => {
    const heads = [0, 1].map(
      () =>
        new PrototypeHead({
          identities: 40,
          dim: 12,
          loss: qMargin(),
          optimizer: sgd(),
        }),
    );
    const embeddings = normalTensor(3, 12, 5);
    using placed = await DeviceTensor.upload(embeddings);
    const a = await heads[0]!.step(placed, labels);
    const b = await heads[1]!.step(embeddings, labels);
    expect(a.gradEmbeddings).toBeInstanceOf(DeviceTensor);
    expectSameBits(
      a.gradEmbeddings.getDataSync() as Float32Array,
      b.gradEmbeddings.data,
    );
    expect(a.losses).toEqual(b.losses);
    a.gradEmbeddings.dispose();
    expect(await heads[0]!.nearest(placed)).toEqual(
      await heads[1]!.nearest(embeddings),
    );
    expect(await heads[0]!.posterior(placed)).toEqual(
      await heads[1]!.posterior(embeddings),
    );
    const again = [{ embeddings: placed, labels }];
    const host = [{ embeddings, labels }];
    expect(await heads[0]!.reinitialize(again)).toBe(
      await heads[1]!.reinitialize(host),
    );
    expectSameBits(
      (await heads[0]!.prototypes()).data,
      (await heads[1]!.prototypes()).data,
    );
    for (const head of heads) head.dispose();
  });

  it('is refused on another device', async () => {
    using placed = await DeviceTensor.upload(logits);
    const elsewhere = {
      code: 'ERR_DEVICE',
      message: expect.stringMatching(/logits on cpu.*on cuda/),
    };
    await expect(entmax(placed, { device: 'cpu' })).rejects.toMatchObject(
      elsewhere,
    );
    using head = new PrototypeHead({
      identities: 4,
      dim: 40,
      loss: qMargin(),
      optimizer: sgd(),
      device: 'cpu',
    });
    await expect(head.nearest(placed)).rejects.toMatchObject({
      code: 'ERR_DEVICE',
    });
  });

  it('fails after dispose, and frees its memory', async () => {
    const before = memory().device;
    const placed = await DeviceTensor.upload(logits);
    expect(memory().device - before).toBe(3 * 40 * 4);
    // A call that is under way keeps it.
    const running = entmax(placed);
    placed.dispose();
    expect(placed.disposed).toBe(true);
    (await running).dispose();
    expect(memory().device).toBe(before);
    const disposed = { code: 'ERR_DISPOSED' };
    await expect(placed.getData()).rejects.toMatchObject(disposed);
    await expect(entmax(placed)).rejects.toMatchObject(disposed);
    expect(() => entmaxSync(placed)).toThrow(/was disposed/);
    placed.dispose();
  });

  it('checks shapes and numbers as host tensors do', async () => {
    using line = await DeviceTensor.upload(tensor(new Float32Array(4), [4]));
    await expect(entmax(line)).rejects.toThrow(/logits\.dims.*2 sizes/);
    const bad = new Float32Array(6);
    bad[4] = Number.NaN;
    using placed = await DeviceTensor.upload(tensor(bad, [2, 3]));
    await expect(entmax(placed)).rejects.toMatchObject({
      code: 'ERR_NON_FINITE',
      message: expect.stringContaining('logits row 1'),
    });
  });
});

describe.runIf(emulated)('device memory that runs out', () => {
  it('is an error with the bytes, and the head stays as it was', async () => {
    using head = new PrototypeHead({
      identities: 300,
      dim: 16,
      loss: qMargin(),
      optimizer: sgd({ momentum: 0.9 }),
    });
    const embeddings = normalTensor(8, 16, 1);
    const some = randomLabels(8, 300, 1);
    const before = await head.prototypes();
    // Room for every smaller budget in turn: each allocation of a step fails once.
    let failures = 0;
    const used = memory().device;
    for (let room = 0; room < 4_000_000; room = room * 1.5 + 64) {
      const memoryBytes = Math.floor(used + room);
      let failed = false;
      try {
        withEmulation({ memoryBytes }, () => head.stepSync(embeddings, some));
      } catch (error) {
        failed = true;
        failures += 1;
        expect(error).toMatchObject({
          code: 'ERR_OUT_OF_MEMORY',
          message: expect.stringMatching(
            /for \d+ bytes.*\d+ of \d+ bytes are free/,
          ),
        });
        expectSameBits((await head.prototypes()).data, before.data);
      }
      if (!failed) break;
    }
    expect(failures).toBeGreaterThan(5);
    // The step that fitted is the step of a head that was never short of memory.
    using fresh = new PrototypeHead({
      identities: 300,
      dim: 16,
      loss: qMargin(),
      optimizer: sgd({ momentum: 0.9 }),
    });
    fresh.stepSync(embeddings, some);
    expectSameBits(
      (await head.prototypes()).data,
      (await fresh.prototypes()).data,
    );
  });

  it('says how much a head would need', () => {
    const { memoryBytes } = native().configureEmulation!({});
    expect(
      () =>
        new PrototypeHead({
          identities: Math.ceil(memoryBytes / 400),
          dim: 100,
          loss: qMargin(),
          optimizer: sgd(),
        }),
    ).toThrow(
      /PrototypeHead: device memory for \d+ bytes could not be allocated/,
    );
  });
});
