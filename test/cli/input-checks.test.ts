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

test('rows of one identity are refused: their loss is 0 and nothing is trained', async () => {
  // The mask marks the test rows with 0, and leaves one identity to train on.
  const marks = [0, 0, 1, 1, 1, 1, 1, 1];
  const options = await write(features(), labels(), marks);
  const result = await train(options);
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toMatch(
    /^alphamargin: \S*y\.npy: all 2 rows to train on \(0 in \S*s\.npy\) are of the identity 0; at least two identities are needed\n$/,
  );
  const one = await write(
    features(),
    labels().map(() => 7),
  );
  const whole = await train(one.slice(0, 4));
  expect(whole.code).toBe(1);
  expect(whole.stderr).toMatch(/all 8 rows to train on are of the identity 7/);
});

test('rows of neither part are counted, and left out', async () => {
  const marks = [0, 0, 0, 0, 1, 1, 1, 2].map((mark, row) =>
    row === 0 ? -1 : mark,
  );
  const options = await write(features(), labels(), marks);
  const message =
    /\S*s\.npy: 2 of 8 rows have a value other than 0 \(train\) and 1 \(test\) and belong to neither\n/;
  const trained = await train(options);
  expect(trained).toMatchObject({ code: 0, stdout: '' });
  expect(trained.stderr).toMatch(message);
  expect(trained.stderr).toMatch(/: 3 rows of 2 identities/);
  const verified = await runCli(['verify', ...options]);
  expect(verified.code).toBe(0);
  expect(verified.stderr).toMatch(message);
  expect(verified.stdout).toMatch(/1 genuine and 2 impostor pairs/);
});

test('a mask of NumPy is a split, embeddings are not', async () => {
  const options = await write(features(), labels());
  const numbers = [await train(options), await runCli(['verify', ...options])];
  const data = Uint8Array.from(labels(), (_, row) => (row < 4 ? 0 : 1));
  await writeNpy(file('s.npy'), { type: 'bool', data, dims: [ROWS] });
  const masks = [await train(options), await runCli(['verify', ...options])];
  expect(masks[1]).toEqual(numbers[1]);
  expect(masks[0]).toMatchObject({ code: 0 });
  expect(masks[0]!.stderr).toMatch(/: 4 rows of 2 identities/);
  const wrong = await train([...options.slice(0, 4), '--split', file('x.npy')]);
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(
    /x\.npy: a split is int32, int64, uint8 or bool \[N\], not float32 \[8, 2\]\n$/,
  );
  // A mask is no list of identities.
  const swapped = ['--embeddings', file('x.npy'), '--labels', file('s.npy')];
  expect((await train(swapped)).stderr).toMatch(/the dtype of \S*s\.npy to be/);
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
