import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { NpyArray } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();

const ROWS = 8;

/** Writes 8 rows of 2 features; rows 4 to 7 are for testing. */
async function write(features: number[][], labels: number[], split?: number[]) {
  const paths = {
    embeddings: file('x.npy'),
    labels: file('y.npy'),
    split: file('s.npy'),
  };
  await writeNpy(paths.embeddings, {
    type: 'float32',
    data: Float32Array.from(features.flat()),
    dims: [features.length, features[0]?.length ?? 2],
  } as NpyArray);
  const vector = (values: number[]) => ({
    type: 'int32' as const,
    data: Int32Array.from(values),
    dims: [values.length],
  });
  await writeNpy(paths.labels, vector(labels));
  await writeNpy(
    paths.split,
    vector(split ?? labels.map((_, row) => (row < 4 ? 0 : 1))),
  );
  return [
    ...['--embeddings', paths.embeddings, '--labels', paths.labels],
    ...['--split', paths.split],
  ];
}

const features = () => Array.from({ length: ROWS }, (_, row) => [1, 0.1 * row]);
const labels = () => Array.from({ length: ROWS }, (_, row) => row >> 1);

const train = (options: string[]) =>
  runCli([
    'train',
    ...options,
    ...['--epochs', '1', '--batch', '2', '--out', file('h.safetensors')],
    '--overwrite',
  ]);

test.each([
  [2, [Number.NaN, 0], /x\.npy: row 2 \(counted from 0\) holds NaN or/],
  [6, [0, -Infinity], /x\.npy: row 6 \(counted from 0\) holds NaN or/],
  [3, [0, 0], /x\.npy: row 3 \(counted from 0\) has norm 0 but needs a direc/],
  [5, [0, 0], /x\.npy: row 5 \(counted from 0\) has norm 0 but needs a direc/],
])('row %i = %j is named, where it is used', async (row, value, message) => {
  const x = features();
  x[row] = value;
  const options = await write(x, labels());
  const results = [await train(options), await runCli(['verify', ...options])];
  const used = row < 4 ? 0 : 1;
  expect(results[used]).toMatchObject({ code: 1, stdout: '' });
  expect(results[used]!.stderr).toMatch(message);
  expect(results[used]!.stderr).toMatch(/^alphamargin: [^\n]*\n$/);
  // The other part does not hold the row.
  expect(results[1 - used]!.code).toBe(0);
});

test('a negative label is named, where it is used', async () => {
  const y = labels();
  y[1] = -1;
  const options = await write(features(), y);
  const trained = await train(options);
  expect(trained).toMatchObject({ code: 1, stdout: '' });
  expect(trained.stderr).toMatch(
    /^alphamargin: [^\n]*y\.npy: row 1 \(counted from 0\) holds the label -1; [^\n]*\n$/,
  );
  expect((await runCli(['verify', ...options])).code).toBe(0);
});

test('with trials every row is checked', async () => {
  const x = features();
  x[3] = [0, 0];
  await write(x, labels());
  const list = file('trials.txt');
  await writeFile(list, '1 0 1\n0 1 2\n');
  const result = await runCli([
    'verify',
    ...['--embeddings', file('x.npy'), '--trials', list],
  ]);
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toMatch(/x\.npy: row 3 .* has norm 0/);
});

test('a row that the projection takes to zero is named by its row', async () => {
  const x = features();
  x[2] = [0, 1];
  const options = [...(await write(x, labels())), '--project', '1'];
  const trained = await train(options);
  expect(trained).toMatchObject({ code: 1, stdout: '' });
  expect(trained.stderr).toMatch(
    /alphamargin: step \d \(epoch 1\): row 2 of the embeddings has norm 0 after/,
  );
  x[2] = [1, 1];
  x[6] = [0, 1];
  await write(x, labels());
  const rates = ['--weight-decay', '0', '--project-lr', '1e-30'];
  expect((await train([...options, ...rates])).code).toBe(0);
  const verified = await runCli([
    'verify',
    ...options.slice(0, -2),
    ...['--head', file('h.safetensors')],
  ]);
  expect(verified.code).toBe(1);
  expect(verified.stderr).toMatch(
    /^alphamargin: \S*h\.safetensors: its projection gives row 6 of the embeddings no direction \(norm 0\)\n$/,
  );
});

test('a projection that diverges is told as such', async () => {
  const options = await write(features(), labels());
  const rates = ['--project', '2', '--project-lr', '1e38', '--epochs', '9'];
  const trained = await runCli([
    'train',
    ...options,
    ...rates,
    ...['--batch', '2', '--out', file('d.safetensors')],
  ]);
  expect(trained.code).toBe(1);
  expect(trained.stderr).toMatch(/beyond all bounds: try a smaller --lr or/);
});

test.each([[], ['--project', '2']])(
  'noise beyond all bounds is told as such, %j',
  async (...project) => {
    const options = await write(features(), labels());
    const trained = await train([...options, ...project, '--noise', '1e30']);
    expect(trained).toMatchObject({ code: 1, stdout: '' });
    expect(trained.stderr).toMatch(
      /alphamargin: step 1 \(epoch 1\): row \d of the embeddings has no direction \(norm \S+e\+30\) with the noise added: try a smaller --noise\n$/,
    );
  },
);

test('embeddings of another dimension than the projection are refused', async () => {
  const options = await write(features(), labels());
  expect((await train([...options, '--project', '2'])).code).toBe(0);
  await write(
    features().map((row) => [...row, 1]),
    labels(),
  );
  const head = file('h.safetensors');
  const result = await runCli(['verify', ...options, '--head', head]);
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toMatch(
    /^alphamargin: \S*h\.safetensors: its projection takes embeddings of dimension 2, these have 3\n$/,
  );
});

test('a set without rows of a part is refused in plain words', async () => {
  const none = labels().map(() => 2);
  const options = await write(features(), labels(), none);
  expect((await train(options)).stderr).toMatch(
    /^alphamargin: \S*s\.npy: no row has the value 0, which marks the train part\n$/,
  );
  expect((await runCli(['verify', ...options])).stderr).toMatch(
    /^alphamargin: \S*s\.npy: no row has the value 1, which marks the test part\n$/,
  );
});

test('float16 rows are checked by value, not by bits', async () => {
  const options = await write(features(), labels());
  const check = async (...bits: number[]) => {
    const data = Uint16Array.from({ length: 2 * ROWS }, (_, k) => bits[k % 4]!);
    const dims = [ROWS, 2];
    await writeNpy(file('x.npy'), { type: 'float16', data, dims });
    return train(options);
  };
  expect((await check(0x3c00, 0x8000, 0x0001, 0x0000)).code).toBe(0);
  const { stderr: zero } = await check(0x3c00, 0, 0x8000, 0);
  expect(zero).toMatch(/row 1 .* norm 0 /);
  const { stderr: infinite } = await check(0x3c00, 0, 0x7c00, 0);
  expect(infinite).toMatch(/row 1 .* NaN or/);
  const { stderr: nan } = await check(0x3c00, 0x7e00, 0, 1);
  expect(nan).toMatch(/row 0 .* NaN or/);
});
