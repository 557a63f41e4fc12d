import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type ArkRow, readArk } from '../../lib/io/kaldi-ark.js';
import { readScp } from '../../lib/io/kaldi-scp.js';
import {
  readSpk2utt,
  readUtt2spk,
  speakerLabels,
} from '../../lib/io/kaldi-speakers.js';
import { kaldiArchive, kaldiObject } from './kaldi-files.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();

async function write(name: string, content: string | Buffer): Promise<string> {
  await writeFile(file(name), content);
  return file(name);
}

async function rowsOf(content: string | Buffer): Promise<ArkRow[]> {
  const rows: ArkRow[] = [];
  for await (const row of readArk(await write('a.ark', content))) {
    rows.push(row);
  }
  return rows;
}

const shown = (rows: ArkRow[]) =>
  rows.map(({ name, row, vector }) => [name, row, ...vector]);

test('binary vectors come back, with the offsets of an scp file', async () => {
  const entries = [
    ['utt-1', [1, -2, 0.5]],
    ['zoë', [3, 4]],
    ['utt-3', [Number.NaN, Infinity]],
  ] as const;
  for (const kind of ['FV', 'DV'] as const) {
    const { bytes, offsets } = kaldiArchive(entries, kind);
    const rows = await rowsOf(bytes);
    expect(shown(rows)).toEqual(entries.map(([n, v]) => [n, 0, ...v]));
    expect(rows.map(({ offset }) => offset)).toEqual(offsets);
  }
});

test('matrices come back row by row', async () => {
  for (const kind of ['FM', 'DM'] as const) {
    const matrix = kaldiObject(kind, [
      [1, 2],
      [3, 4],
    ]);
    const name = Buffer.from('m ');
    const rows = await rowsOf(Buffer.concat([name, matrix, name, matrix]));
    expect(shown(rows)).toEqual([
      ['m', 0, 1, 2],
      ['m', 1, 3, 4],
      ['m', 0, 1, 2],
      ['m', 1, 3, 4],
    ]);
  }
});

test('text vectors and matrices are read as Kaldi writes them', async () => {
  const text =
    'a  [ 1 -2.5e-3 inf ]\nb  [\n  1 2 \n  3 nan ]\r\nempty  [ ]\nc [ .5 ]';
  expect(shown(await rowsOf(text))).toEqual([
    ['a', 0, 1, Math.fround(-2.5e-3), Infinity],
    ['b', 0, 1, 2],
    ['b', 1, 3, Number.NaN],
    ['c', 0, 0.5],
  ]);
  expect(await rowsOf('')).toEqual([]);
});

test('vectors across the chunks of a file are whole', async () => {
  const vector = Array.from({ length: 50_000 }, (_, i) => i);
  const entries = Array.from(
    { length: 9 },
    (_, i) => [`u${i}`, vector] as const,
  );
  for (const content of [
    kaldiArchive(entries).bytes,
    entries.map(([name]) => `${name} [ ${vector.join(' ')} ]\n`).join(''),
  ]) {
    const rows = await rowsOf(content);
    expect(rows.map(({ name }) => name)).toEqual(entries.map(([n]) => n));
    for (const row of rows) expect([...row.vector]).toEqual(vector);
  }
});

const compressed = Buffer.from('m \0BCM2 ', 'latin1');
const hugeVector = Buffer.from('v \0BFV \x04\xff\xff\xff\x7f', 'latin1');
const longVector = Buffer.from('v \0BFV \x04\x00\x00\x10\x00', 'latin1');
const hugeMatrix = Buffer.from(
  'v \0BFM \x04\xff\xff\xff\x7f\x04\x00\x00\x10\x00',
  'latin1',
);

test.each([
  ['compressed', compressed, /'m' at byte 2: a compressed matrix \("CM2"\)/],
  [
    'integers',
    Buffer.from('v \0B\x04\x01\0\0\0', 'latin1'),
    /FV, DV, FM or DM/,
  ],
  ['a huge dimension', hugeVector, /impossible sizes \(1, 2147483647\)/],
  [
    'a vector beyond the end',
    longVector,
    /take 4194304 bytes, the file holds 0/,
  ],
  ['a huge matrix', hugeMatrix, /truncated: sizes \(2147483647, 1048576\)/],
  [
    'a negative size',
    Buffer.from('v \0BFV \x04\xff\xff\xff\xff', 'latin1'),
    /-1/,
  ],
  ['an 8-byte size', Buffer.from('v \0BFV \x08\0\0\0\0', 'latin1'), /takes 8/],
  ['a header cut off', Buffer.from('v \0BFV \x04', 'latin1'), /in the header/],
  ['no name', Buffer.from('\0BFV ', 'latin1'), /expected a name/],
  ['a name only', Buffer.from('utterance'), /expected a name and a blank/],
  ['no bracket', Buffer.from('v 1 2 3\n'), /expected '\['/],
  ['no end', Buffer.from('v [ 1 2\n 3'), /before '\]'/],
  ['a word', Buffer.from('v [ 1 two ]\n'), /expected a number but found "two"/],
  ['hexadecimal', Buffer.from('v [ 0x10 ]\n'), /expected a number/],
])('an archive with %s is refused', async (_, bytes, message) => {
  await expect(rowsOf(bytes)).rejects.toMatchObject({
    code: 'ERR_CHECKPOINT',
    message: expect.stringMatching(message),
  });
});

test('a name without an end is not read into memory', async () => {
  const endless = Buffer.alloc(2 ** 24 + 2 ** 18 + 1, 'x');
  await expect(rowsOf(endless)).rejects.toThrow(/longer than 16777216 bytes/);
  const path = await write('endless', endless);
  await expect(readUtt2spk(path)).rejects.toThrow(/longer than 16777216 bytes/);
});

test('script files name archives and places', async () => {
  const text = 'a x/1.ark:7\n\nb  x/1.ark:1000000000000\r\nc vector file.vec\n';
  expect(await readScp(await write('a.scp', text))).toEqual({
    names: ['a', 'b', 'c'],
    paths: ['x/1.ark', 'vector file.vec'],
    file: Int32Array.of(0, 0, 1),
    offset: Float64Array.of(7, 1e12, 0),
  });
});

test.each([
  ['a command', 'a gunzip -c x.gz |'],
  ['a command in front', 'a | x.gz'],
  ['a range', 'a x.ark:7[0:9]'],
  ['a name only', 'a'],
  ['an impossible offset', 'a x.ark:99999999999999999999'],
])('a script file with %s is refused', async (_, line) => {
  const path = await write('a.scp', `ok x.ark:1\n${line}\n`);
  await expect(readScp(path)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(
      /^readScp: expected line 2 of .*path:offset/,
    ),
  });
});

test('speakers are numbered by name', async () => {
  const utt2spk = await readUtt2spk(
    await write('u', 'u1 zoe\nu2\tann\nu3 zoe\n'),
  );
  expect([...utt2spk]).toEqual([
    ['u1', 'zoe'],
    ['u2', 'ann'],
    ['u3', 'zoe'],
  ]);
  expect(speakerLabels(['u3', 'u2', 'u1'], utt2spk)).toEqual({
    labels: Int32Array.of(1, 0, 1),
    speakers: ['ann', 'zoe'],
  });
  expect(() => speakerLabels(['u4'], utt2spk)).toThrow(/none that is 'u4'/);
  const spk2utt = await readSpk2utt(await write('s', 'zoe u1 u3\nann u2\n'));
  expect([...spk2utt]).toEqual([
    ['zoe', ['u1', 'u3']],
    ['ann', ['u2']],
  ]);
});

test.each([
  [readUtt2spk, 'a b\na c\n', /line 2 of .* a new utterance/],
  [readUtt2spk, 'a b c\n', /line 1 of .*'utterance speaker'/],
  [readSpk2utt, 'a b\na c\n', /line 2 of .* a new speaker/],
  [readSpk2utt, '\na\n', /line 2 of .*'speaker utterance …'/],
])('%o refuses lines of another form', async (read, text, message) => {
  await expect(read(await write('m', text))).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });
});

test('a file that is absent is named', async () => {
  const absent = {
    code: 'ERR_CHECKPOINT',
    message: expect.stringMatching(/no such file/),
  };
  for (const read of [readUtt2spk, readSpk2utt, readScp]) {
    await expect(read(file('absent'))).rejects.toMatchObject(absent);
  }
  await expect(readArk(file('absent')).next()).rejects.toMatchObject(absent);
});
