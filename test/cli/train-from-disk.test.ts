import { execFile } from 'node:child_process';
import { open, readFile, stat } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { readNpy } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { openSafetensors } from '../../lib/io/safetensors-reader.js';
import { writeHollowNpy } from '../data/dataset-files.js';
import { normalTensor } from '../helpers/random.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
let set: MadeSet;
beforeAll(async () => {
  set = await writeMadeSet(file);
});

/** The trained tensors of a checkpoint, in bits. */
async function tensorsOf(path: string) {
  const reader = await openSafetensors(path);
  const content: Record<string, string> = {};
  for (const { name, byteLength } of reader.tensors.values()) {
    const bytes = Buffer.alloc(byteLength);
    await reader.readRows(name, 0, bytes);
    content[name] = bytes.toString('hex');
  }
  await reader.close();
  return content;
}

/** An npy file of random rows, and the labels of 64 identities. */
async function writeLarge(name: string, count: number, dim: number) {
  const piece = normalTensor(2048, dim, 1).data;
  const start = await writeHollowNpy(file(name), count, dim);
  const handle = await open(file(name), 'r+');
  for (let first = 0; first < count; first += 2048) {
    await handle.write(piece, 0, piece.byteLength, start + first * dim * 4);
  }
  await handle.close();
  await writeNpy(file(`labels-${name}`), {
    type: 'int32',
    data: Int32Array.from({ length: count }, (_, row) => row % 64),
    dims: [count],
  });
}

/** Most bytes that a training run held. */
async function peakOf(name: string): Promise<number> {
  const peak = file(`peak-${name}`);
  const args = [
    ...['--import', pathToFileURL(here('peak-memory.mjs')).href],
    here('../../dist/cli/main.js'),
    ...[
      'train',
      '--embeddings',
      file(name),
      '--labels',
      file(`labels-${name}`),
    ],
    ...['--out', file(`${name}.safetensors`), '--batch', '512'],
    ...['--project', '32', '--buffer-rows', '2048'],
    // What is measured is the reading, which no device has a part in.
    ...['--device', 'cpu'],
    ...['--epochs', '2', '--reinitialize-at', '1'],
  ];
  await promisify(execFile)(process.execPath, args, {
    env: { ...process.env, PEAK_MEMORY_FILE: peak },
  });
  return Number(await readFile(peak, 'utf8'));
}

test('memory does not grow with the file', async () => {
  const dim = 512;
  await writeLarge('small.npy', 2 ** 13, dim);
  await writeLarge('large.npy', 2 ** 17, dim);
  const more =
    (await stat(file('large.npy'))).size - (await stat(file('small.npy'))).size;
  expect(more).toBe(240 * 2 ** 20);
  const growth = (await peakOf('large.npy')) - (await peakOf('small.npy'));
  // What the collector has not freed yet, and a few numbers for each row.
  expect(growth).toBeLessThan(more / 3);
}, 300_000);

// A process of Windows ends at once when another one signals to it.
test.skipIf(process.platform === 'win32').each([
  ['shuffled', ['--block-rows', '3', '--buffer-rows', '50']],
  ['class-balanced', ['--class-power', '0.5']],
  ['identity-samples', ['--samples', '4']],
])('stopped and resumed, %s ends in the same bits', async (name, options) => {
  const common = [
    ...['train', ...setOptions(set), '--sampler', name, ...options],
    ...['--project', '12', '--epochs', '60', '--batch', '32', '--noise', '0.2'],
    ...['--device', 'cpu'],
  ];
  const whole = file(`whole-${name}.safetensors`);
  expect(await runCli([...common, '--out', whole])).toMatchObject({ code: 0 });
  const parts = file(`parts-${name}.safetensors`);
  let sent = false;
  const stopped = await runCli([...common, '--out', parts], (child, stderr) => {
    if (!sent && stderr.includes('epoch 5/60')) sent = child.kill('SIGINT');
  });
  expect(stopped.code).toBe(130);
  const resumed = await runCli([...common, '--out', parts, '--resume']);
  expect(resumed).toMatchObject({ code: 0 });
  expect(resumed.stderr).toMatch(/resuming after step \d+/);
  expect(await tensorsOf(parts)).toEqual(await tensorsOf(whole));
});

test('files given together train as one file does', async () => {
  const { data, dims } = await readNpy(set.embeddings);
  const dim = dims[1]!;
  const cut = 50 * dim;
  const part = (values: Float32Array) => ({
    ...{ type: 'float32' as const, data: values },
    dims: [values.length / dim, dim],
  });
  const values = data as Float32Array;
  await writeNpy(file('part-1.npy'), part(values.slice(0, cut)));
  await writeNpy(file('part-2.npy'), part(values.slice(cut)));
  const run = async (out: string, ...files: string[]) => {
    const trained = await runCli([
      ...['train', ...files.flatMap((path) => ['--embeddings', file(path)])],
      ...setOptions(set).slice(2),
      ...['--epochs', '2', '--resume', '--out', file(out)],
    ]);
    expect(trained).toMatchObject({ code: 0 });
    return trained.stderr;
  };
  await run('both.safetensors', 'part-1.npy', 'part-2.npy');
  await run('one.safetensors', 'x.npy');
  const both = await tensorsOf(file('both.safetensors'));
  expect(both).toEqual(await tensorsOf(file('one.safetensors')));
  // They are the same data to a checkpoint, too.
  expect(await run('both.safetensors', 'x.npy')).toMatch(/nothing was left/);

  // A row is named by its file and its number there.
  values[51 * dim] = Number.NaN;
  await writeNpy(file('part-2.npy'), part(values.slice(cut)));
  const files = ['--embeddings', file('part-1.npy'), '--embeddings'];
  const refused = await runCli([
    ...['train', ...files, file('part-2.npy'), ...setOptions(set).slice(2)],
    ...['--out', file('none.safetensors')],
  ]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/part-2\.npy: row 1 \(counted from 0\) holds/);
});

test('the sampler decides which rows are seen', async () => {
  const run = async (...options: string[]) => {
    const out = ['--out', file('seen.safetensors')];
    const files = [...setOptions(set), ...out];
    return runCli([
      'train',
      ...files,
      '--epochs',
      '1',
      '--batch',
      '20',
      ...options,
    ]);
  };
  // 120 rows of 20 identities: 5 identities a step, each identity once.
  const log = file('seen.json');
  const samples = ['--sampler', 'identity-samples', '--samples', '4'];
  expect((await run(...samples, '--log', log)).code).toBe(0);
  const { step, recipe } = JSON.parse(await readFile(log, 'utf8'));
  expect(step).toBe(4);
  expect(recipe.sampler).toEqual({ name: 'identity-samples', samples: 4 });
  const few = [...samples, '--samples', '1', '--batch', '21'];
  const many = await run(...few, '--overwrite');
  expect(many).toMatchObject({ code: 1, stdout: '' });
  expect(many.stderr).toMatch(
    /takes 21 identities in a step, but there are 20/,
  );
  const mixed = await run('--buffer-rows', '40', '--overwrite');
  expect(mixed.stderr).toMatch(/from disk, 40 rows at a time are mixed/);
  const other = await run('--resume', '--sampler', 'class-balanced');
  expect(other.stderr).toMatch(
    /sampler was .*shuffled.* and is now .*balanced/,
  );
});
