import { readFile, writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import {
  openSafetensors,
  PrototypeHead,
  qMargin,
  sgd,
  writeSafetensors,
} from '../../lib/index.js';
import { normalTensor } from '../helpers/random.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();

/** A checkpoint with every kind of content: state, reference, and tensors of the caller's. */
async function writeCheckpoint(path: string): Promise<PrototypeHead> {
  const head = new PrototypeHead({
    identities: 5,
    dim: 3,
    loss: qMargin({ scale: 8 }),
    optimizer: sgd({ momentum: 0.9 }),
    reference: Float32Array.of(1, 2, 1, 0.5, 1),
    device: 'cpu',
  });
  head.stepSync(normalTensor(4, 3, 1), [0, 1, 2, 3]);
  await head.save(path, {
    extra: {
      metadata: { epoch: '3' },
      tensors: [
        {
          name: 'mine',
          dtype: 'F32',
          shape: [2],
          chunks: [new Uint8Array(Float32Array.of(1, 2).buffer)],
        },
      ],
    },
  });
  return head;
}

it('a flipped bit anywhere in a checkpoint is found', async () => {
  (await writeCheckpoint(file('whole'))).dispose();
  const whole = await readFile(file('whole'));
  // A prime stride reaches every region; test/reliability tries every bit.
  for (let bit = 0; bit < 8 * whole.length; bit += 13) {
    const damaged = Buffer.from(whole);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    await writeFile(file('damaged'), damaged);
    await expect(
      PrototypeHead.load(file('damaged')),
      `bit ${bit}`,
    ).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
  }
});

it('a checkpoint without checksums, of an older version, is loaded', async () => {
  using head = await writeCheckpoint(file('new'));
  const opened = await openSafetensors(file('new'));
  const { checksum, checksums, ...metadata } = opened.metadata;
  expect([checksum, checksums]).not.toContain(undefined);
  const tensors = [...opened.tensors.values()].map((entry) => ({
    ...entry,
    chunks: (async function* () {
      for await (const { bytes } of opened.rows(entry.name)) yield bytes;
    })(),
  }));
  await writeSafetensors(file('old'), { metadata, tensors });
  await opened.close();
  using loaded = await PrototypeHead.load(file('old'), { device: 'cpu' });
  expect(await loaded.prototypes()).toEqual(await head.prototypes());
});

it('names the tensor that is damaged', async () => {
  (await writeCheckpoint(file('whole'))).dispose();
  const damaged = await readFile(file('whole'));
  damaged[damaged.length - 1]! ^= 1;
  await writeFile(file('damaged'), damaged);
  await expect(PrototypeHead.load(file('damaged'))).rejects.toThrow(
    /damaged: the checksum of 'mine' differs/,
  );
});
