import { open, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { openEmbeddings } from '../../lib/data/index.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { writeSafetensors } from '../../lib/io/safetensors-writer.js';
import { uniform } from '../helpers/random.js';
import { kaldiArchive, kaldiObject } from '../io/kaldi-files.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import {
  wholeNumbers,
  writeEveryFormat,
  writeHollowNpy,
} from './dataset-files.js';

const file = useTemporaryDirectory();
const [count, dim] = [111, 19];
const data = wholeNumbers(count, dim);
let files: Record<string, string>;
beforeAll(async () => {
  files = await writeEveryFormat(file, data, dim);
});

const row = (index: number) => [
  ...data.subarray(index * dim, (index + 1) * dim),
];

/** Files of these tests that this process has open; undefined where the system does not say. */
async function openFiles(): Promise<string[] | undefined> {
  if (process.platform !== 'linux') return undefined;
  const paths = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) =>
      readlink(`/proc/self/fd/${fd}`).catch(() => ''),
    ),
  );
  return paths.filter((path) => path.startsWith(file('')));
}

const formats = [
  'npy float32',
  'npy float16',
  'npy float64',
  'safetensors F32',
  'safetensors F16',
  'safetensors BF16',
  'safetensors F64',
  'ark FV',
  'ark DV',
  'ark text',
  'scp FV',
  'scp DV',
  'scp text',
];

describe.each(formats)('%s', (format) => {
  test('gives every row, by range and by list', async () => {
    await using dataset = await openEmbeddings(files[format]!);
    expect([dataset.count, dataset.dim]).toEqual([count, dim]);
    const all = new Float32Array(count * dim);
    await dataset.readRows(0, all);
    expect(all).toEqual(data);
    const part = new Float32Array(2 * dim);
    await dataset.readRows(count - 2, part);
    expect([...part]).toEqual([...row(count - 2), ...row(count - 1)]);
    const next = uniform(3);
    const rows = Int32Array.from({ length: 300 }, () =>
      Math.floor(next() * count),
    );
    const gathered = new Float32Array(rows.length * dim);
    await dataset.gather(rows, gathered);
    expect([...gathered]).toEqual([...rows].flatMap(row));
    await dataset.gather(new Int32Array(0), new Float32Array(0));
  });

  test('names its utterances if it is a Kaldi file', async () => {
    await using dataset = await openEmbeddings(files[format]!);
    const named = /^(ark|scp)/.test(format);
    expect(dataset.names?.[7]).toBe(named ? 'u343' : undefined);
  });
});

test('float64 is rounded, and becomes an infinity beyond float32', async () => {
  const values = Float64Array.of(0.1, 1e-50, 3.5e38, -1e300);
  await writeNpy(file('w.npy'), {
    type: 'float64',
    data: values,
    dims: [2, 2],
  });
  const bytes = new Uint8Array(values.buffer);
  await writeSafetensors(file('w.safetensors'), {
    tensors: [{ name: 'w', dtype: 'F64', shape: [2, 2], chunks: [bytes] }],
  });
  for (const name of ['w.npy', 'w.safetensors']) {
    await using dataset = await openEmbeddings(file(name));
    const target = new Float32Array(4);
    await dataset.readRows(0, target);
    const [a, b, c, d] = [Math.fround(0.1), 0, Infinity, -Infinity];
    expect([...target]).toEqual([a, b, c, d]);
  }
});

test('several files are one data set, whatever their formats', async () => {
  const paths = [files['scp DV']!, files['npy float16']!, files['ark text']!];
  await using dataset = await openEmbeddings(paths);
  expect(dataset.count).toBe(3 * count);
  expect(dataset.names).toBeUndefined();
  const rows = Int32Array.of(2 * count, count - 1, count, 0, 3 * count - 1);
  const target = new Float32Array(rows.length * dim);
  await dataset.gather(rows, target);
  expect([...target]).toEqual([0, count - 1, 0, 0, count - 1].flatMap(row));
  await using named = await openEmbeddings([
    files['scp FV']!,
    files['ark DV']!,
  ]);
  expect(named.names?.length).toBe(2 * count);
});

test('rows far apart and side by side are read alike', async () => {
  // 4 MiB of rows of 1 KiB: spans end by their size and at gaps.
  const big = wholeNumbers(4096, 256);
  await writeNpy(file('big.npy'), {
    type: 'float32',
    data: big,
    dims: [4096, 256],
  });
  await using dataset = await openEmbeddings(file('big.npy'));
  for (const stride of [1, 3, 31, 32, 33, 34, 500]) {
    const rows = Int32Array.from(
      { length: 4096 / stride },
      (_, i) => i * stride,
    ).reverse();
    const target = new Float32Array(rows.length * 256);
    await dataset.gather(rows, target);
    rows.forEach((from, slot) => {
      const got = target.subarray(slot * 256, (slot + 1) * 256);
      const wanted = big.subarray(from * 256, (from + 1) * 256);
      if (!got.every((value, k) => value === wanted[k])) {
        throw new Error(`row ${from} of stride ${stride}`);
      }
    });
  }
});

test('a script file may name a file for each utterance', async () => {
  const lines: string[] = [];
  for (let index = 0; index < 200; index += 1) {
    await writeFile(
      file(`${index}.vec`),
      kaldiObject('FV', [row(index % count)]),
    );
    lines.push(`u${index} ${file(`${index}.vec`)}\n`);
  }
  await writeFile(file('many.scp'), lines.join(''));
  await using dataset = await openEmbeddings(file('many.scp'));
  const target = new Float32Array(200 * dim);
  // At once, so that files in use are never closed to make room.
  await Promise.all([
    dataset.readRows(0, new Float32Array(200 * dim)),
    dataset.readRows(0, target),
  ]);
  expect([...target]).toEqual(lines.flatMap((_, index) => row(index % count)));
  await rm(file('150.vec'));
  const one = new Float32Array(dim);
  await dataset.readRows(1, one);
  await using again = await openEmbeddings(file('many.scp'));
  await expect(again.readRows(150, one)).rejects.toThrow(
    /150\.vec: cannot read/,
  );
  await again.readRows(149, one);
});

describe('what is refused', () => {
  test('rows outside the data set, other targets, and a closed one', async () => {
    const dataset = await openEmbeddings(files['npy float32']!);
    const invalid = { code: 'ERR_INVALID_ARGUMENT' };
    const target = new Float32Array(dim);
    const bad = [
      dataset.gather(Int32Array.of(count), target),
      dataset.gather(Int32Array.of(-1), target),
      dataset.gather(Int32Array.of(0, 1), target),
      dataset.readRows(count, target),
      dataset.readRows(0.5, target),
      dataset.readRows(0, new Float32Array(dim + 1)),
    ];
    for (const call of bad) await expect(call).rejects.toMatchObject(invalid);
    await dataset.close();
    await dataset.close();
    for (const [name, call] of [
      ['readRows', dataset.readRows(0, target)],
      ['gather', dataset.gather(Int32Array.of(0), target)],
    ] as const) {
      await expect(call).rejects.toMatchObject({
        code: 'ERR_DISPOSED',
        message: `${name}: the data set is closed`,
      });
    }
  });

  test.each(formats)('%s closed while it is read', async (format) => {
    const dataset = await openEmbeddings(files[format]!);
    const reading = dataset.readRows(0, new Float32Array(count * dim));
    await dataset.close();
    // Done by then, or told by the call's own name; the file is not to blame.
    await reading.catch((error) =>
      expect(error).toMatchObject({
        code: 'ERR_DISPOSED',
        message: 'readRows: the data set is closed',
      }),
    );
    expect((await openFiles()) ?? []).toEqual([]);
  });

  test('files that are no embeddings, or do not fit together', async () => {
    const ints = {
      type: 'int32',
      data: new Int32Array(4),
      dims: [2, 2],
    } as const;
    await writeNpy(file('ints.npy'), ints);
    const flat = {
      type: 'float32',
      data: new Float32Array(4),
      dims: [4],
    } as const;
    await writeNpy(file('flat.npy'), flat);
    await writeNpy(file('none.npy'), {
      ...flat,
      data: new Float32Array(0),
      dims: [0, 4],
    });
    await writeNpy(file('wide.npy'), { ...flat, dims: [1, 4] });
    const two = (['a', 'b'] as const).map((name) => ({
      ...{ name, dtype: 'F32', shape: [1, 1], chunks: [new Uint8Array(4)] },
    }));
    await writeSafetensors(file('two.safetensors'), { tensors: two as never });
    const matrix = kaldiObject('FM', [[1], [2]]);
    await writeFile(file('m.ark'), Buffer.concat([Buffer.from('m '), matrix]));
    await writeFile(file('m.scp'), `m ${file('m.ark')}:2\n`);
    const cases: [string | string[], RegExp][] = [
      [file('ints.npy'), /the dtype of .*ints\.npy .* received 'int32'/],
      [file('flat.npy'), /the sizes of .*flat\.npy to be \[N, D\]/],
      [file('none.npy'), /the rows of .*none\.npy to be between 1/],
      [[files['ark FV']!, file('wide.npy')], /rows of 19, .* rows of 4/],
      [file('two.safetensors'), /tensor to name one of .* it has a, b/],
      [file('m.ark'), /'m' to be one vector but received a matrix/],
      [file('m.scp'), /'m' to be one vector/],
      [file('x.csv'), /files named \.npy, \.safetensors, \.scp, \.ark/],
      [[], /paths to be a path or an array of paths/],
    ];
    for (const [paths, message] of cases) {
      await expect(openEmbeddings(paths)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(message),
      });
    }
    const options = { tensor: 'b' };
    await using chosen = await openEmbeddings(file('two.safetensors'), options);
    expect(chosen.count).toBe(1);
    await expect(
      openEmbeddings(file('two.safetensors'), { tensor: 'c' }),
    ).rejects.toThrow(/no tensor 'c'/);
  });

  test('vectors unlike the first one, by name', async () => {
    const entries = [
      ['a', [1, 2]],
      ['b', [1, 2, 3]],
    ] as const;
    const { bytes, offsets } = kaldiArchive(entries);
    await writeFile(file('odd.ark'), bytes);
    const scp = async (at: number) => {
      const path = file('odd.ark');
      await writeFile(
        file('odd.scp'),
        `a ${path}:${offsets[0]}\nb ${path}:${at}\n`,
      );
      return openEmbeddings(file('odd.scp'));
    };
    const damaged = (message: RegExp) => ({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
    const target = new Float32Array(2);
    for (const [at, message] of [
      [
        offsets[1]!,
        /odd\.ark: 'b': expected a vector of 2 \(float32\) like .* 1 × 3/,
      ],
      [offsets[1]! + 3, /'b': expected a vector of 2 .* text or damaged/],
      [1e12, /'b': truncated: a vector of 2 at byte 1000000000000/],
    ] as const) {
      await using dataset = await scp(at);
      await expect(dataset.readRows(1, target)).rejects.toMatchObject(
        damaged(message),
      );
      await dataset.readRows(0, target);
    }
  });
});

test('rows beyond 4 GiB are read where they are', async () => {
  const rows = 2 ** 22 + 1;
  const start = await writeHollowNpy(file('hole.npy'), rows, 512);
  const handle = await open(file('hole.npy'), 'r+');
  const last = new Uint8Array(Float32Array.of(1.5, 2.5).buffer);
  await handle.write(last, 0, 8, start + rows * 2048 - 8);
  await handle.close();
  await using dataset = await openEmbeddings(file('hole.npy'));
  const target = new Float32Array(2 * 512);
  await dataset.gather(Int32Array.of(rows - 1, 0), target);
  expect([...target.subarray(509, 513)]).toEqual([0, 1.5, 2.5, 0]);
});
