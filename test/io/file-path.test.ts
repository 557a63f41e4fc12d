import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import {
  AlphaMarginError,
  embeddingsFromNpy,
  labelsFromNpy,
  openEmbeddings,
  openSafetensors,
  PrototypeHead,
  qMargin,
  readArk,
  readNpy,
  readScp,
  readSpk2utt,
  readTemplatePairs,
  readTemplates,
  readTrials,
  readUtt2spk,
  sgd,
  writeFileAtomically,
  writeNpy,
  writeSafetensors,
  writeTextAtomically,
} from '../../lib/index.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();
// A blank and an umlaut are escaped in a URL, and a per cent sign, too.
const url = (name: string) => pathToFileURL(file(`ä 10% ${name}`));
const path = (name: string) => file(`ä 10% ${name}`);

type Reader = (from: string | URL) => Promise<unknown>;

/** Everything an iterable gives. */
async function all(rows: AsyncIterable<unknown>): Promise<unknown[]> {
  const items: unknown[] = [];
  for await (const item of rows) items.push(item);
  return items;
}

const x = {
  type: 'float32',
  data: Float32Array.of(1, 2, 3, 4),
  dims: [2, 2],
} as const;

async function countOf(from: string | URL | (string | URL)[]): Promise<number> {
  await using dataset = await openEmbeddings(from);
  return dataset.count;
}

test('what is written to a URL is read from the path, and the other way round', async () => {
  await writeNpy(url('x.npy'), x);
  expect(await readNpy(path('x.npy'))).toEqual(x);
  const data = Int32Array.of(5, 6);
  await writeNpy(path('y.npy'), { type: 'int32', data, dims: [2] });
  expect(await labelsFromNpy(url('y.npy'))).toEqual(data);
  const tensors = [
    { name: 'x', dtype: 'U8', shape: [2], chunks: [Uint8Array.of(1, 2)] },
  ] as const;
  await writeSafetensors(url('x.safetensors'), { tensors });
  await using opened = await openSafetensors(url('x.safetensors'));
  expect(opened.path).toBe(path('x.safetensors'));
  await writeTextAtomically(url('a.txt'), 'one\n');
  await writeFileAtomically(url('b.txt'), (handle) => handle.writeFile('two'));
  expect(await countOf(url('x.npy'))).toBe(2);
  expect(await countOf([url('x.npy'), path('x.npy')])).toBe(4);
  using head = new PrototypeHead({
    identities: 2,
    dim: 2,
    loss: qMargin(),
    optimizer: sgd(),
  });
  await head.save(url('head.safetensors'));
  using loaded = await PrototypeHead.load(url('head.safetensors'));
  expect(await loaded.prototypes()).toEqual(await head.prototypes());
});

const readers: [text: string, Reader][] = [
  ['1 a b\n0 a c\n', readTrials],
  ['1 2 1\n1 3 0\n', readTemplatePairs],
  ['1.jpg 1 10\n2.jpg 2 11\n', readTemplates],
  ['u1 ann\nu2 bob\n', readUtt2spk],
  ['ann u1 u2\n', readSpk2utt],
  ['u1 a.ark:3\n', readScp],
  ['u1  [ 1 2 ]\n', (from) => all(readArk(from))],
];

test.each(readers)(
  'a list %j reads alike by path and URL',
  async (text, read) => {
    await writeFile(path('list'), text);
    expect(await read(url('list'))).toEqual(await read(path('list')));
  },
);

test('what names no file of this machine is refused', async () => {
  const calls: Reader[] = [
    readNpy,
    embeddingsFromNpy,
    labelsFromNpy,
    openSafetensors,
    countOf,
    (from) => PrototypeHead.load(from),
    (from) => writeNpy(from, x),
    (from) => writeSafetensors(from, { tensors: [] }),
    (from) => writeTextAtomically(from, ''),
    ...readers.map(([, read]) => read),
  ];
  const wrong: unknown[] = [
    '',
    'a\0b',
    3,
    new URL('https://example.org/x.npy'),
    // To Windows that is a file on another machine.
    ...(process.platform === 'win32'
      ? []
      : [new URL('file://elsewhere/x.npy')]),
    new URL('file:///a%00b'),
    Object.create(URL.prototype),
    new Proxy(url('x.npy'), {}),
  ];
  for (const call of calls) {
    for (const value of wrong) {
      const error = await call(value as string).catch(
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(AlphaMarginError);
      expect(error).toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(
          /: expected paths? to be (the name of a file or a file URL|a path or an array of paths) but received /,
        ),
      });
    }
  }
  const remote = new URL('https://example.org/x.npy');
  await expect(readNpy(remote)).rejects.toThrow(
    "readNpy: expected path to be the name of a file or a file URL but received 'https://example.org/x.npy'",
  );
});
