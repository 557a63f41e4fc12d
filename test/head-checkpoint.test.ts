import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  AlphaMarginError,
  a3m,
  adagrad,
  type OptimizerSpecification,
  openSafetensors,
  PrototypeHead,
  qMargin,
  sgd,
  writeSafetensors,
} from '../lib/index.js';
import { normalTensor, randomLabels } from './helpers/random.js';
import { useTemporaryDirectory } from './io/temporary-directory.js';

const file = useTemporaryDirectory();
const [identities, dim] = [111, 19] as const;

function newHead(optimizer: OptimizerSpecification): PrototypeHead {
  return new PrototypeHead({
    identities,
    dim,
    loss: qMargin({ alpha: 1.25, scale: 16 }),
    optimizer,
    seed: 5,
    scratchBudget: 1 << 20,
    reference: normalTensor(1, identities, 8).data.map((x) => Math.exp(x / 4)),
  });
}

function train(head: PrototypeHead, from: number, to: number) {
  for (let step = from; step < to; step += 1) {
    head.stepSync(
      normalTensor(7, dim, step),
      randomLabels(7, identities, step),
    );
  }
}

describe('a loaded head', () => {
  it.each([
    ['sgd', sgd({ learningRate: 0.5 })],
    ['momentum', sgd({ learningRate: 0.5, momentum: 0.9, weightDecay: 1e-3 })],
    ['adagrad', adagrad({ learningRate: 0.5 })],
  ])('continues with the same bits: %s', async (name, optimizer) => {
    const path = file(`${name}.safetensors`);
    using uninterrupted = newHead(optimizer);
    train(uninterrupted, 0, 4);
    await uninterrupted.save(path);
    using resumed = await PrototypeHead.load(path);
    expect(await resumed.prototypes()).toEqual(
      await uninterrupted.prototypes(),
    );
    train(uninterrupted, 4, 8);
    train(resumed, 4, 8);
    expect(await resumed.prototypes()).toEqual(
      await uninterrupted.prototypes(),
    );
    // The optimiser state is the same too: one more round trip each.
    await uninterrupted.save(file('a'));
    await resumed.save(file('b'));
    expect(await readFile(file('b'))).toEqual(await readFile(file('a')));
  });

  it('has the loss, the settings and the learning rate of the saved one', async () => {
    using head = newHead(sgd({ learningRate: 0.5, momentum: 0.9 }));
    head.loss = a3m({ alpha: 1.5, margin: 0.1, detachMargin: true });
    head.learningRate = 0.125;
    await head.save(file('settings'));
    using loaded = await PrototypeHead.load(file('settings'));
    expect(loaded.loss).toEqual(head.loss);
    expect(loaded.optimizer).toEqual(head.optimizer);
    expect([loaded.identities, loaded.dim]).toEqual([identities, dim]);
  });

  it('comes from the state at the time of the call to save', async () => {
    using head = newHead(sgd({ learningRate: 0.5 }));
    const before = await head.prototypes();
    const saving = head.save(file('ordered'));
    await head.step(normalTensor(7, dim, 1), randomLabels(7, identities, 1));
    await saving;
    using loaded = await PrototypeHead.load(file('ordered'));
    expect(await loaded.prototypes()).toEqual(before);
  });
});

describe('a file that is no checkpoint', () => {
  async function whole(): Promise<Buffer> {
    using head = newHead(sgd({ momentum: 0.9 }));
    train(head, 0, 1);
    await head.save(file('whole'));
    return readFile(file('whole'));
  }

  const damages: [string, (bytes: Buffer) => Uint8Array][] = [
    ['empty', () => new Uint8Array(0)],
    ['cut in the header', (bytes) => bytes.subarray(0, 100)],
    ['cut in the arrays', (bytes) => bytes.subarray(0, bytes.length - 4)],
    ['too long', (bytes) => Buffer.concat([bytes, Buffer.alloc(4)])],
    ['text', () => Buffer.from('label enrolment test\n'.repeat(40))],
    [
      'a header length beyond the file',
      (bytes) => {
        const copy = Buffer.from(bytes);
        copy.writeBigUInt64LE(1n << 60n);
        return copy;
      },
    ],
    [
      'a NaN prototype',
      (bytes) => {
        const copy = Buffer.from(bytes);
        const start = 8 + Number(bytes.readBigUInt64LE());
        for (let at = start; at < copy.length; at += 4)
          copy.writeFloatLE(NaN, at);
        return copy;
      },
    ],
    [
      'settings that are not JSON',
      (bytes) => edited(bytes, '\\"identities\\"', '\\"identities  '),
    ],
    [
      'another format',
      (bytes) => edited(bytes, 'alphamargin-head-1', 'alphamargin-head-9'),
    ],
    ['other sizes', (bytes) => edited(bytes, '\\"dim\\":19', '\\"dim\\":20')],
    [
      'a bad loss',
      (bytes) => edited(bytes, '\\"alpha\\":1.25', '\\"alpha\\":0.25'),
    ],
    [
      'a bad optimiser',
      (bytes) => edited(bytes, '\\"kind\\":\\"sgd\\"', '\\"kind\\":\\"xyz\\"'),
    ],
  ];

  function edited(bytes: Buffer, from: string, to: string): Buffer {
    const copy = Buffer.from(bytes);
    const place = copy.indexOf(from);
    expect(place).toBeGreaterThan(0);
    copy.write(to, place);
    return copy;
  }

  it.each(damages)('%s', async (name, damage) => {
    const path = file(`damaged ${name}`);
    await writeFile(path, damage(await whole()));
    const failure = await PrototypeHead.load(path).catch((error) => error);
    expect(failure).toBeInstanceOf(AlphaMarginError);
    expect(failure.code).toBe('ERR_CHECKPOINT');
    expect(failure.message).toContain(path);
  });

  it('missing, or of another program', async () => {
    await writeSafetensors(file('foreign'), {
      tensors: [
        { name: 'w', dtype: 'F32', shape: [1], chunks: [new Uint8Array(4)] },
      ],
    });
    for (const name of ['foreign', 'missing']) {
      await expect(PrototypeHead.load(file(name))).rejects.toMatchObject({
        code: 'ERR_CHECKPOINT',
      });
    }
  });
});

describe('a checkpoint that cannot be written', () => {
  it('leaves the old file, no other file, and a head that works', async () => {
    const folder = file('folder');
    await mkdir(folder);
    const target = path.join(folder, 'head');
    using head = newHead(sgd());
    await head.save(target);
    const old = await readFile(target);
    train(head, 0, 1);
    const failure = await head
      .save(target, {
        extra: {
          tensors: [
            // Two bytes short: found out when everything else is written.
            {
              name: 'x',
              dtype: 'F32',
              shape: [1],
              chunks: [new Uint8Array(2)],
            },
          ],
        },
      })
      .catch((error) => error);
    expect(failure).toBeInstanceOf(AlphaMarginError);
    expect(failure.code).toBe('ERR_CHECKPOINT');
    expect(await readFile(target)).toEqual(old);
    expect(await readdir(folder)).toEqual(['head']);
    train(head, 1, 2);
    await head.save(target);
    expect(await readFile(target)).not.toEqual(old);
  });

  const bytes = [new Uint8Array(4)];
  const scalar = { name: 'x', dtype: 'F32', shape: [], chunks: bytes };
  const reserved = {
    tensors: ['prototypes', 'momentum', 'accumulator', 'reference'],
    metadata: ['format', 'settings', 'checksums', 'checksum'],
  };
  const refusals: readonly [message: string, extra: unknown][] = [
    ...reserved.tensors.map((name): [string, unknown] => [
      `extra.tensors[1].name to be other than ${reserved.tensors.join(', ')}, ` +
        `which are the head's own, but received '${name}'`,
      { tensors: [scalar, { ...scalar, name }] },
    ]),
    ...reserved.metadata.map((key): [string, unknown] => [
      `each key of extra.metadata to be other than ${reserved.metadata.join(', ')}, ` +
        `which are the head's own, but received '${key}'`,
      { metadata: { mine: '1', [key]: '2' } },
    ]),
    ['extra.tensors[0] to be { name, dtype, shape', { tensors: [null] }],
    ['extra.tensors to be an array but received an', { tensors: {} }],
    ['extra.metadata to be an object of strings but', { metadata: 'text' }],
    ['extra.metadata.a to be a string', { metadata: { a: 1 } }],
    ["name to be used once but received 'x'", { tensors: [scalar, scalar] }],
    [
      "dtype of 'x' to be a safetensors type but received 'F31'",
      { tensors: [{ ...scalar, dtype: 'F31' }] },
    ],
  ];
  it.each(refusals)('extra is refused: %s', async (message, extra) => {
    const folder = await mkdtemp(file('reserved-'));
    using head = newHead(sgd()); // without optimiser state: the names are its own nonetheless
    await expect(
      head.save(path.join(folder, 'head'), { extra: extra as never }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(
        `PrototypeHead.save: expected ${message}`,
      ),
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('extra is written as it was when save was called', async () => {
    const metadata: Record<string, string> = { mine: 'before' };
    const tensors = [{ ...scalar, dtype: 'F32' as const }];
    const target = file('extra');
    using head = newHead(sgd());
    const step = head.step(normalTensor(7, dim, 1), randomLabels(7, 9, 1));
    const saving = head.save(target, { extra: { tensors, metadata } }); // waits for the step
    metadata.mine = 'after';
    tensors[0]!.name = 'y';
    await Promise.all([step, saving]);
    await using reader = await openSafetensors(target);
    expect(reader.metadata.mine).toBe('before');
    expect(reader.tensors.has('x')).toBe(true);
    (await PrototypeHead.load(target)).dispose();
  });

  it.each([
    ['a folder that does not exist', 'nowhere/head'],
    ['a folder of that name', '.'],
    ['a file in place of a folder', 'blocked/head'],
  ])('%s', async (_, name) => {
    await writeFile(file('blocked'), '');
    using head = newHead(sgd());
    await expect(head.save(file(name))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
    });
  });
});
