import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import type { NpyArray } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let set: MadeSet;
beforeAll(async () => {
  set = await writeMadeSet(file);
});

test('a trial list by row number and by name gives the same rates', async () => {
  const x = Float32Array.of(1, 0, 1, 0.1, 0, 1, 0.2, 1);
  const embeddings = file('four.npy');
  await writeNpy(embeddings, { type: 'float32', data: x, dims: [4, 2] });
  const trials = (names: string[]) =>
    `1 ${names[0]} ${names[1]}\n1 ${names[2]} ${names[3]}\n0 ${names[0]} ${names[2]}\n`;
  await writeFile(file('rows.txt'), trials(['0', '1', '2', '3']));
  const names = ['a.wav', 'b.wav', 'c.wav', 'd.wav'];
  await writeFile(file('named.txt'), trials(names));
  await writeFile(file('names.txt'), `${names.join('\n')}\n`);
  const byRow = await runCli([
    'verify',
    ...['--embeddings', embeddings, '--trials', file('rows.txt')],
  ]);
  const byName = await runCli([
    'verify',
    ...['--embeddings', embeddings, '--trials', file('named.txt')],
    ...['--names', file('names.txt')],
  ]);
  expect(byRow).toMatchObject({ code: 0, stderr: '' });
  expect(byRow.stdout).toMatch(/2 genuine and 1 impostor pairs/);
  expect(byRow.stdout).toMatch(/^embeddings .* 0\.0000 /m);
  expect(byName).toEqual(byRow);
});

test("a trial list in Kaldi's form gives the rates of VoxCeleb's", async () => {
  const data = Float64Array.of(1, 0, 1, 0.1, 0, 1, 0.2, 1);
  const embeddings = file('double.npy');
  await writeNpy(embeddings, { type: 'float64', data, dims: [4, 2] });
  await writeFile(file('names.lst'), 'a\nb\nc\nd\n');
  const verify = async (trials: string) => {
    await writeFile(file('list.txt'), trials);
    return runCli([
      'verify',
      ...['--embeddings', embeddings, '--trials', file('list.txt')],
      ...['--names', file('names.lst')],
    ]);
  };
  const kaldi = await verify('a b target\nc d target\na c nontarget\n');
  expect(kaldi).toMatchObject({ code: 0, stderr: '' });
  expect(kaldi.stdout).toMatch(/2 genuine and 1 impostor pairs/);
  expect(await verify('1 a b\n1 c d\n0 a c\n')).toEqual(kaldi);
  const mixed = await verify('a b target\n1 c d\n');
  expect(mixed.code).toBe(1);
  expect(mixed.stderr).toMatch(/line 2 of .*list\.txt .* as line 1 but/);
});

test('float16 embeddings are read', async () => {
  const data = Uint16Array.of(0x3c00, 0, 0x3c00, 0x2e66, 0, 0x3c00);
  const embeddings = file('half.npy');
  await writeNpy(embeddings, { type: 'float16', data, dims: [3, 2] });
  const labels: NpyArray = {
    type: 'int32',
    data: Int32Array.of(1, 1, 2),
    dims: [3],
  };
  await writeNpy(file('three.npy'), labels);
  const args = ['--embeddings', embeddings, '--labels', file('three.npy')];
  const result = await runCli(['verify', ...args]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(result.stdout).toMatch(/1 genuine and 2 impostor pairs/);
});

test('sets that do not fit together are refused in one line', async () => {
  const cases: [string[], RegExp][] = [
    [
      ['--embeddings', set.embeddings, '--labels', file('three.npy')],
      /three\.npy: it holds 3 values, .* each of 180 embeddings\n$/,
    ],
    [
      ['--embeddings', set.labels, '--labels', set.labels],
      /float32, float16 or float64/,
    ],
    [['--embeddings', set.embeddings, '--trials', set.labels], /readTrials/],
    [[...setOptions(set), '--head', set.labels], /not a safetensors file/],
    [[...setOptions(set), '--head', file('absent')], /no such file/],
    [[...setOptions(set), '--compare', file('absent')], /no such file/],
    [[...setOptions(set), '--compare', set.labels], /y\.npy: not JSON/],
    [[...setOptions(set), '--report', file('no/r.html')], /cannot write/],
  ];
  for (const [args, message] of cases) {
    const result = await runCli(['verify', ...args]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^alphamargin: .*\n$/);
  }
});

test('pairs of one kind only are refused by what is in the file', async () => {
  const dims = [4, 2];
  const data = Float32Array.of(1, 0, 1, 0.1, 0, 1, 0.2, 1);
  await writeNpy(file('few.npy'), { type: 'float32', data, dims });
  const embeddings = ['--embeddings', file('few.npy')];
  const labels = async (...values: number[]) => {
    const type = 'int32' as const;
    const array = { type, data: Int32Array.from(values), dims: [4] };
    await writeNpy(file('kinds.npy'), array);
    return ['--labels', file('kinds.npy')];
  };
  const trials = async (text: string) => {
    await writeFile(file('kinds.txt'), text);
    return ['--trials', file('kinds.txt')];
  };
  const cases: [() => Promise<string[]>, RegExp][] = [
    [
      () => labels(7, 7, 7, 7),
      /kinds\.npy: the 4 rows that are compared are of one identity, so there is no impostor/,
    ],
    [
      () => labels(7, 6, 5, 4),
      /kinds\.npy: no two of the 4 rows .* are of one identity, .* no genuine pair/,
    ],
    [
      () => trials('1 0 1\n1 2 3\n'),
      /kinds\.txt: it has no impostor trial \(label 0 or nontarget\); rates need both/,
    ],
    [
      () => trials('0 0 2\n'),
      /kinds\.txt: it has no genuine trial \(label 1 or target\); rates need both/,
    ],
  ];
  for (const [write, message] of cases) {
    const result = await runCli(['verify', ...embeddings, ...(await write())]);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^alphamargin: \S*kinds[^\n]*\n$/);
  }
});

test('a head without a projection cannot be compared', async () => {
  const head = file('bare.safetensors');
  const args = [...setOptions(set), '--epochs', '1', '--out', head];
  expect((await runCli(['train', ...args])).code).toBe(0);
  const result = await runCli(['verify', ...setOptions(set), '--head', head]);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/holds no projection/);
});

test('earlier results and the history of the training are in the report', async () => {
  const recipe = [...setOptions(set), '--project', '8', '--epochs', '3'];
  for (const loss of ['cosface', 'q-margin']) {
    const out = ['--loss', loss, '--out', file(`${loss}.safetensors`)];
    expect((await runCli(['train', ...recipe, ...out])).code).toBe(0);
  }
  const verify = (loss: string, ...more: string[]) =>
    runCli([
      'verify',
      ...setOptions(set),
      ...['--head', file(`${loss}.safetensors`), ...more],
    ]);
  const earlier = await verify('cosface', '--json', file('earlier.json'));
  const [embeddings, cosface] = earlier.stdout.split('\n').slice(2, 4);

  const report = ['--report', file('r.html'), '--json', file('later.json')];
  const compare = ['--compare', file('earlier.json')];
  const later = await verify('q-margin', ...compare, ...report);
  expect(later).toMatchObject({ code: 0, stderr: '' });
  const rows = later.stdout.split('\n').slice(2, 5);
  const cells = (row = '') => row.split(/ {2,}/);
  // The embeddings are the same in both runs and are shown once.
  expect(rows.map((row) => cells(row)[0])).toEqual([
    'embeddings',
    'q-margin',
    'cosface',
  ]);
  expect(cells(rows[0])).toEqual(cells(embeddings));
  expect(cells(rows[2])).toEqual(cells(cosface));
  const html = await readFile(file('r.html'), 'utf8');
  expect(html).toContain('Mean loss over the epochs, for q-margin, cosface');
  const saved = JSON.parse(await readFile(file('later.json'), 'utf8'));
  expect(saved.embeddings).toBe(set.embeddings);
  expect(saved.systems).toHaveLength(2);
  expect(saved.systems[1].training).toHaveLength(3);
});
