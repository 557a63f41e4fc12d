import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { Projection } from '../../lib/cli/projection.js';
import {
  embeddingsFromNpy,
  openSafetensors,
  type Tensor,
  writeNpy,
} from '../../lib/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let set: MadeSet;
let head: string;
beforeAll(async () => {
  set = await writeMadeSet(file);
  head = file('head.safetensors');
  const recipe = ['--project', '12', '--epochs', '2', '--out', head];
  expect((await runCli(['train', ...setOptions(set), ...recipe])).code).toBe(0);
});

const project = (...args: string[]) =>
  runCli(['project', '--head', head, ...args]);

test('rows are P·x, of any length or of length 1', async () => {
  const given = ['--embeddings', set.embeddings];
  const raw = await project(...given, '--out', file('raw.npy'));
  expect(raw).toMatchObject({ code: 0, stderr: '' });
  expect(raw.stdout).toMatch(/^\S*raw\.npy: 180 rows of 12\n$/);
  const reader = await openSafetensors(head);
  const weight = new Float32Array(12 * 16);
  await reader.readRows('projection.weight', 0, weight);
  await reader.close();
  const { data } = await embeddingsFromNpy(set.embeddings);
  const projection = new Projection(16, 12, weight, new Float32Array(12 * 16));
  const expected = projection.apply(data as Float32Array, 180);
  const written = await embeddingsFromNpy(file('raw.npy'));
  expect(written).toEqual({
    ...{ type: 'float32', data: expected, dims: [180, 12] },
  });

  // Two files are one set.
  const out = ['--normalize', '--out', file('unit.npy')];
  expect((await project(...given, ...given, ...out)).code).toBe(0);
  const unit = await embeddingsFromNpy(file('unit.npy'));
  expect(unit.dims).toEqual([360, 12]);
  for (let row = 0; row < 360; row += 1) {
    const at = row % 180;
    const own = expected.subarray(12 * at, 12 * (at + 1));
    const length = Math.hypot(...own);
    const unitRow = unit.data.subarray(12 * row, 12 * (row + 1));
    for (const [k, value] of unitRow.entries()) {
      expect(value).toBeCloseTo(own[k]! / length, 6);
    }
  }
});

test('verify measures the same as with --head', async () => {
  const out = file('projected.npy');
  expect(
    (await project('--embeddings', set.embeddings, '--out', out)).code,
  ).toBe(0);
  const rates = (stdout: string, name: string) =>
    new RegExp(`^${name} +(.*)$`, 'm').exec(stdout)?.[1]?.split(/ {2,}/);
  const direct = await runCli(['verify', ...setOptions(set), '--head', head]);
  const projected = { ...set, embeddings: out };
  const later = await runCli(['verify', ...setOptions(projected)]);
  expect(later.code).toBe(0);
  expect(rates(later.stdout, 'embeddings')).toEqual(
    rates(direct.stdout, 'head'),
  );
});

test('names of Kaldi files are kept', async () => {
  const vector = (value: number) =>
    Array.from({ length: 16 }, (_, k) => (k === value ? 1 : 0.1)).join(' ');
  await writeFile(
    file('v.ark'),
    `ann  [ ${vector(0)} ]\nbob  [ ${vector(1)} ]\n`,
  );
  const kaldi = ['--embeddings', file('v.ark'), '--out', file('k.npy')];
  const result = await project(...kaldi, '--names', file('k.txt'));
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(await readFile(file('k.txt'), 'utf8')).toBe('ann\nbob\n');
  expect((await embeddingsFromNpy(file('k.npy'))).dims).toEqual([2, 12]);
});

test('what cannot be projected is refused, and nothing is written', async () => {
  const bare = file('bare.safetensors');
  const args = [...setOptions(set), '--epochs', '1', '--out', bare];
  expect((await runCli(['train', ...args])).code).toBe(0);
  const zero = { type: 'float32', data: new Float32Array(32), dims: [2, 16] };
  await writeNpy(file('zero.npy'), zero as Tensor<'float32'>);
  const out = ['--out', file('never.npy')];
  const given = ['--embeddings', set.embeddings];
  const cases: [string[], number, RegExp][] = [
    [[...given, '--head', bare], 1, /bare\.safetensors: holds no projection/],
    [['--embeddings', file('raw.npy')], 1, /of dimension 16, these have 12/],
    [['--embeddings', file('zero.npy')], 1, /zero\.npy: row 0 .* has norm 0/],
    [[...given, '--names', file('n.txt')], 1, /rows .* have no names/],
    [[...given, '--names', head], 2, /--names .* would replace --head/],
  ];
  for (const [more, code, message] of cases) {
    const result = await project(...out, ...more);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^alphamargin: [^\n]*\n$/);
    await expect(readFile(file('never.npy'))).rejects.toThrow('ENOENT');
  }
});
