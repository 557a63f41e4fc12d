import { writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { readNpy } from '../../lib/io/npy-reader.js';
import { writeSafetensors } from '../../lib/io/safetensors-writer.js';
import { kaldiArchive } from '../io/kaldi-files.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let set: MadeSet;
let utterances: string[];

/** The made set again, as a speaker toolkit and as another framework would have it. */
beforeAll(async () => {
  set = await writeMadeSet(file);
  const { data, dims } = await readNpy(set.embeddings);
  const [count, dim] = dims as [number, number];
  const labels = (await readNpy(set.labels)).data;
  // Names that sort as the numbers do, so that classes are numbered alike.
  const speakers = [...labels].map((label) => `s${1000 + label}`);
  utterances = speakers.map((speaker, row) => `${speaker}-${row}`);
  const { bytes, offsets } = kaldiArchive(
    utterances.map((name, row) => [
      name,
      [...data.subarray(row * dim, (row + 1) * dim)],
    ]),
  );
  await writeFile(file('x.ark'), bytes);
  const lines = (value: (row: number) => string) =>
    utterances.map((name, row) => `${name} ${value(row)}\n`).join('');
  await writeFile(
    file('x.scp'),
    lines((row) => `${file('x.ark')}:${offsets[row]}`),
  );
  await writeFile(
    file('utt2spk'),
    lines((row) => speakers[row]!),
  );
  await writeSafetensors(file('x.safetensors'), {
    tensors: [
      {
        ...{ name: 'x', dtype: 'F32', shape: [count, dim] },
        chunks: [new Uint8Array(data.buffer, 0, data.byteLength)],
      },
    ],
  });
});

test('train and verify give the same numbers from every format', async () => {
  const run = async (embeddings: string, labels: string, out: string) => {
    const files = ['--embeddings', embeddings, '--labels', labels];
    const options = [...files, ...['--split', set.split]];
    const trained = await runCli([
      'train',
      ...options,
      ...['--epochs', '2', '--project', '8', '--out', file(out)],
      '--overwrite',
    ]);
    expect(trained).toMatchObject({ code: 0 });
    const verified = await runCli(['verify', ...options, '--head', file(out)]);
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    return verified.stdout;
  };
  const head = 'head.safetensors';
  const expected = await run(set.embeddings, set.labels, head);
  expect(await run(file('x.scp'), file('utt2spk'), head)).toBe(expected);
  expect(await run(file('x.ark'), set.labels, head)).toBe(expected);
  expect(await run(file('x.safetensors'), set.labels, head)).toBe(expected);
});

test('a trial list names the utterances of a Kaldi file', async () => {
  const [first, second, , , , , other] = utterances;
  const list = `1 ${first} ${second}\n0 ${first} ${other}\n`;
  await writeFile(file('trials.txt'), list);
  const args = ['--embeddings', file('x.scp'), '--trials', file('trials.txt')];
  const result = await runCli(['verify', ...args]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(result.stdout).toMatch(/1 genuine and 1 impostor pairs/);
});

test('an utterance without a speaker is named', async () => {
  await writeFile(file('few'), `${utterances[0]} s\n`);
  const files = ['--embeddings', file('x.scp'), '--labels', file('few')];
  const result = await runCli(['verify', ...files]);
  expect(result.code).toBe(1);
  expect(result.stderr).toMatch(/utt2spk to hold every name .* 's\d+-1'\n$/);
  const made = [...setOptions(set), '--labels', file('utt2spk')];
  expect((await runCli(['verify', ...made])).stderr).toMatch(
    /utt2spk: not an npy file by its name; labels are/,
  );
});
