import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTrials, readTrials } from '../../lib/verification/index.js';

const LIST = `1 id1/x/1.wav id1/y/2.wav
0 id1/x/1.wav id2/z/3.wav
0 id2/z/3.wav id1/y/2.wav
`;

const EXPECTED = {
  genuine: Uint8Array.of(1, 0, 0),
  enrolment: Int32Array.of(0, 0, 2),
  test: Int32Array.of(1, 2, 1),
  names: ['id1/x/1.wav', 'id1/y/2.wav', 'id2/z/3.wav'],
};

const KALDI = `id1/x/1.wav id1/y/2.wav target
id1/x/1.wav id2/z/3.wav nontarget
id2/z/3.wav id1/y/2.wav nontarget
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'alphamargin-trials-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Both readers see the same text; one answer is expected of both. */
const readers = [
  ['parseTrials', async (text: string) => parseTrials(text)],
  [
    'readTrials',
    async (text: string) => {
      const file = path.join(folder, 'list.txt');
      await writeFile(file, text);
      return readTrials(file);
    },
  ],
] as const;

describe.each(readers)('%s', (name, read) => {
  it.each([
    ['as published', LIST],
    ['with CRLF', LIST.replaceAll('\n', '\r\n')],
    ['with blank lines', `\n${LIST.replaceAll('\n', '\n  \n')}\n\n`],
    ['with tabs and more spaces', LIST.replaceAll(' ', ' \t ')],
    ['with a byte order mark', `\ufeff${LIST}`],
    ['without a last line end', LIST.trimEnd()],
  ])('reads a list %s', async (_, text) => {
    expect(await read(text)).toEqual(EXPECTED);
  });

  it.each([
    ['as WeSpeaker makes it', KALDI],
    ['with CRLF', KALDI.replaceAll('\n', '\r\n')],
    ['with blank lines first', `\n \n${KALDI}`],
    ['with tabs', KALDI.replaceAll(' ', '\t')],
    ['with a byte order mark', `\ufeff${KALDI}`],
    ['without a last line end', KALDI.trimEnd()],
  ])("reads a list in Kaldi's form, %s", async (_, text) => {
    expect(await read(text)).toEqual(EXPECTED);
  });

  it('tells the form from the first line, row numbers and odd names included', async () => {
    expect(await read('1 0 target\n0 1 nontarget\n')).toEqual({
      genuine: Uint8Array.of(1, 0),
      enrolment: Int32Array.of(0, 1),
      test: Int32Array.of(1, 0),
      names: ['1', '0'],
    });
    const { genuine, names } = await read('1 a b\n0 a target\n');
    expect([...genuine]).toEqual([1, 0]);
    expect(names).toEqual(['a', 'b', 'target']);
  });

  it.each([
    ['a b target\n\n1 a b\n', 3, 'label target or nontarget, as line 1'],
    ['\na b nontarget\na b 1\n', 3, 'label target or nontarget, as line 2'],
    ['1 a b\na b target\n', 2, 'label 0 or 1, as line 1'],
    ['a b target\na b Target\n', 2, 'label target or nontarget, as line 1'],
  ])('refuses a list of two forms (%j)', async (text, line, expected) => {
    await expect(read(text)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(
        new RegExp(`^${name}: expected line ${line} of .* ${expected} but`),
      ),
    });
  });

  it('shows both forms when the first line has neither', async () => {
    await expect(read('\na b 1\n')).rejects.toThrow(
      /line 2 of .* to be 'enrolment test label' with label target or nontarget, or 'label enrolment test' with label 0 or 1 but received 'a b 1'$/,
    );
  });

  it('keeps names that are not ASCII', async () => {
    const { names } = await read('1 zoë/é.wav 名前/日本.wav\n');
    expect(names).toEqual(['zoë/é.wav', '名前/日本.wav']);
  });

  it.each([
    ['two fields', '1 a.wav', "'1 a.wav'"],
    ['four fields', '1 a.wav b.wav c.wav', "'1 a.wav b.wav c.wav'"],
    ['another label', '2 a.wav b.wav', "'2 a.wav b.wav'"],
    ['the label last', 'a.wav b.wav 1', "'a.wav b.wav 1'"],
  ])('names the line that has %s', async (_, line, shown) => {
    await expect(read(`1 a.wav b.wav\r\n\r\n${line}\n`)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(
        new RegExp(
          `^${name}: expected line 3 of .*label 0 or 1, as line 1 but received`,
        ),
      ),
    });
    await expect(read(`${line}\n`)).rejects.toThrow(shown);
  });

  it.each(['', '\n\n'])('refuses a list without trials (%j)', async (text) => {
    await expect(read(text)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('at least one trial'),
    });
  });
});

describe('readTrials', () => {
  it('reads many lines across the chunks of a file', async () => {
    const trials = Array.from(
      { length: 20_000 },
      (_, i) => `${i % 2} speaker${i % 100}/a.wav speaker${i % 7}/b.wav`,
    );
    const file = path.join(folder, 'long.txt');
    await writeFile(file, trials.join('\n'));
    const list = await readTrials(pathToFileURL(file));
    expect(list.genuine.length).toBe(20_000);
    expect(list.names?.length).toBe(107);
    for (const i of [0, 9_999, 19_999]) {
      const line = [
        list.genuine[i],
        list.names?.[list.enrolment[i]!],
        list.names?.[list.test[i]!],
      ];
      expect(line.join(' ')).toBe(trials[i]);
    }
  });

  it('says which file cannot be read, and why', async () => {
    const missing = path.join(folder, 'missing.txt');
    await expect(readTrials(missing)).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(/missing\.txt.*no such file/),
    });
  });

  it('refuses what is not a path', async () => {
    await expect(readTrials(3 as never)).rejects.toThrow(
      'readTrials: expected path to be the name of a file or a file URL but received 3',
    );
    expect(() => parseTrials(3 as never)).toThrow(
      'parseTrials: expected text to be a string but received 3',
    );
  });
});
