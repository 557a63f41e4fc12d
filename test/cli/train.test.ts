import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { openSafetensors } from '../../lib/io/safetensors-reader.js';
import { emulated } from '../helpers/emulation.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let set: MadeSet;
beforeAll(async () => {
  set = await writeMadeSet(file);
});

/** Everything in a checkpoint but the clock. */
async function contentOf(path: string) {
  const reader = await openSafetensors(path);
  const content: Record<string, unknown> = {};
  for (const [key, text] of Object.entries(reader.metadata)) {
    if (key === 'checksum') continue; // of the clock, too
    content[key] = text.replaceAll(/"seconds":[^,}]*/g, '');
  }
  for (const { name, byteLength } of reader.tensors.values()) {
    const bytes = Buffer.alloc(byteLength);
    await reader.readRows(name, 0, bytes);
    content[name] = bytes.toString('hex');
  }
  await reader.close();
  return content;
}

const recipe = (epochs: number) => [
  ...['--project', '12', '--epochs', String(epochs), '--batch', '32'],
  ...['--noise', '0.2', '--warmup', '1', '--margin-ramp', '1:3'],
  ...['--lr-schedule', 'poly:2', '--seed', '3'],
];

test('train writes a checkpoint and a log, verify reads it', async () => {
  const out = file('head.safetensors');
  const log = file('history.json');
  const trained = await runCli([
    'train',
    ...setOptions(set),
    ...recipe(30),
    ...['--out', out, '--log', log, '--threads', '1'],
  ]);
  expect(trained).toMatchObject({ code: 0, stdout: '' });
  expect(trained.stderr).toMatch(/120 rows of 20 identities, D = 16 projected/);
  expect(trained.stderr).toMatch(/epoch 30\/30 {2}loss /);
  const { history, recipe: used } = JSON.parse(await readFile(log, 'utf8'));
  expect(history).toHaveLength(30);
  expect(used.loss).toMatchObject({ name: 'q-margin', alpha: 1.25 });
  expect(history[0].margin).toBe(0);
  expect(history[29].margin).toBe(0.2);
  expect(history[29].loss).toBeGreaterThanOrEqual(0);
  const content = await contentOf(out);
  const labels = Int32Array.from({ length: 20 }, (_, index) => 100 + index);
  expect(content['train.identities']).toBe(
    Buffer.from(labels.buffer).toString('hex'),
  );

  const json = file('result.json');
  const report = file('report.html');
  const verified = await runCli([
    'verify',
    ...setOptions(set),
    ...['--head', out, '--json', json, '--report', report],
  ]);
  expect(verified).toMatchObject({ code: 0, stderr: '' });
  expect(verified.stdout).toMatch(/150 genuine and 1620 impostor pairs/);
  expect(verified.stdout).toMatch(/^head .* too few /m);
  const { systems } = JSON.parse(await readFile(json, 'utf8'));
  expect(systems.map(({ name }: { name: string }) => name)).toEqual([
    'embeddings',
    'head',
  ]);
  expect(await readFile(report, 'utf8')).toMatch(/^<!doctype html>/i);
});

// A process of Windows ends at once when another one signals to it.
test.skipIf(process.platform === 'win32')(
  'stopping, resuming and going on gives the bits of one run',
  async () => {
    const signals = [
      ['q-margin', 'SIGINT', 130],
      ['a3m', 'SIGTERM', 143],
      ['cosface', 'SIGINT', 130],
    ] as const;
    // Threads of the emulated device run in turn: there one loss, for as long as a signal needs.
    const [tried, epochs] = emulated
      ? [signals.slice(1, 2), 24]
      : [signals, 60];
    for (const [loss, signal, code] of tried) {
      const common = [
        'train',
        ...setOptions(set),
        ...recipe(epochs),
        ...['--loss', loss, '--reinitialize-at', `${epochs / 2}`],
      ];
      const whole = file(`whole-${loss}.safetensors`);
      expect((await runCli([...common, '--out', whole])).code).toBe(0);

      const parts = file(`parts-${loss}.safetensors`);
      let sent = false;
      const stopped = await runCli(
        [...common, '--out', parts, '--checkpoint-every', '0'],
        (child, stderr) => {
          if (sent || !stderr.includes(`epoch 5/${epochs}`)) return;
          sent = child.kill(signal);
        },
      );
      expect(stopped.code).toBe(code);
      expect(stopped.stderr).toMatch(
        new RegExp(`stopped after step \\d+ of ${4 * epochs}\\b`),
      );
      expect(stopped.stderr).toMatch(/run the same command with --resume/);

      const resumed = await runCli([...common, '--out', parts, '--resume']);
      expect(resumed.stderr).toMatch(/resuming after step \d+/);
      expect(resumed.code).toBe(0);
      expect(await contentOf(parts)).toEqual(await contentOf(whole));
    }
  },
);

test('the number of threads does not change a bit', async () => {
  const contents = [];
  for (const threads of ['1', '2', '3']) {
    const out = file(`threads-${threads}.safetensors`);
    const args = ['train', ...setOptions(set), ...recipe(4), '--out', out];
    expect((await runCli([...args, '--threads', threads])).code).toBe(0);
    contents.push(await contentOf(out));
  }
  expect(contents[1]).toEqual(contents[0]);
  expect(contents[2]).toEqual(contents[0]);
});

test('a killed run leaves a checkpoint to go on from', async () => {
  const out = file('killed.safetensors');
  const args = ['train', ...setOptions(set), ...recipe(200), '--out', out];
  const killed = await runCli(args, (child, stderr) => {
    if (stderr.includes('epoch 4/200')) child.kill('SIGKILL');
  });
  expect(killed.code).toBe(null);
  const reader = await openSafetensors(out);
  expect(Number(reader.metadata['train.step'])).toBeGreaterThanOrEqual(12);
  await reader.close();
});

test('resuming a finished run says so and changes nothing', async () => {
  const out = file('finished.safetensors');
  const args = ['train', ...setOptions(set), ...recipe(2), '--out', out];
  expect((await runCli(args)).code).toBe(0);
  const bytes = await readFile(out);
  const log = file('finished.json');
  const again = await runCli([...args, '--resume', '--log', log]);
  expect(again).toMatchObject({ code: 0, stdout: '' });
  expect(again.stderr).toMatch(/nothing was left to do: .* all 2 epochs\n$/);
  expect(again.stderr).not.toMatch(/trained:/);
  expect(await readFile(out)).toEqual(bytes);
  const { history } = JSON.parse(await readFile(log, 'utf8'));
  expect(history).toHaveLength(2);
});

test('a checkpoint of another run, or a damaged one, is not resumed', async () => {
  const out = file('other.safetensors');
  const args = ['train', ...setOptions(set), ...recipe(2), '--out', out];
  expect((await runCli([...args, '--resume'])).stderr).toMatch(/not exist yet/);
  const seed = await runCli([...args, '--seed', '4', '--resume']);
  expect(seed.code).toBe(1);
  expect(seed.stderr).toMatch(/^alphamargin: .*seed was 3 and is now 4\n$/);
  const whole = args.filter((text) => text !== '--split' && text !== set.split);
  const data = await runCli([...whole, '--resume']);
  expect(data.stderr).toMatch(/trained on other data\n$/);
  const bytes = await readFile(out);
  await writeFile(out, bytes.subarray(0, bytes.length - 1));
  const truncated = await runCli([...args, '--resume']);
  expect(truncated.code).toBe(1);
  expect(truncated.stderr).toMatch(/^alphamargin: .*truncated.*\n$/);
  expect(await readFile(out)).toEqual(bytes.subarray(0, bytes.length - 1));
});
