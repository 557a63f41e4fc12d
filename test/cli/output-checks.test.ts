import {
  copyFile,
  link,
  readdir,
  readFile,
  symlink,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { run as demo } from '../../lib/cli/demo-command.js';
import { run as train } from '../../lib/cli/train-command.js';
import { UsageError } from '../../lib/cli/usage.js';
import { run as verify } from '../../lib/cli/verify-command.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let set: MadeSet;
beforeAll(async () => {
  set = await writeMadeSet(file);
  await copyFile(file('x.npy'), file('x2.npy'));
  for (const name of ['trials.txt', 'names.txt', 'a.st', 'b.st', 'c.json']) {
    await writeFile(file(name), name);
  }
  await writeFile(file('v.ark'), 'a  [ 1 0 ]\n');
  await writeFile(file('v.scp'), `a ${file('v.ark')}:3\n`);
  await link(file('y.npy'), file('hard.npy'));
  if (!hasLinks) return;
  await symlink(file('y.npy'), file('soft.npy'));
  await symlink('soft.npy', file('softer.npy'));
  await symlink(file('.'), file('here'));
  await symlink('new.st', file('to-new'));
  await symlink('loop', file('loop'));
});

/** On Windows not everybody may make symbolic links. */
const hasLinks = process.platform !== 'win32';

/** Everything there is, to see that nothing was written. */
async function contents() {
  const names = (await readdir(file('.'))).sort();
  const files = names.filter(
    (name) => !['here', 'to-new', 'loop'].includes(name),
  );
  return [names, await Promise.all(files.map((name) => readFile(file(name))))];
}

/** Runs a command that must end as bad usage, with everything as it was. */
async function expectRefusal(
  command: (args: string[]) => Promise<number>,
  args: string[],
  message: RegExp,
) {
  const before = await contents();
  const failure = await command(args).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(UsageError);
  expect((failure as UsageError).message).toMatch(message);
  expect(await contents()).toEqual(before);
}

/** Options with their files in the directory of the tests. */
const given = (options: Record<string, string>) =>
  Object.entries(options).flatMap(([name, value]) => [
    `--${name}`,
    value === '' ? '' : file(value),
  ]);

describe('train refuses', () => {
  const kept = { out: 'kept.st' };
  async function refuses(outputs: Record<string, string>, message: RegExp) {
    const files = ['--embeddings', file('x2.npy'), ...setOptions(set)];
    for (const flag of ['--resume', '--overwrite']) {
      const args = [...files, ...given(outputs), flag];
      await expectRefusal(train, args, message);
    }
  }

  test.each<[Record<string, string>, RegExp]>([
    [{ out: 'x.npy' }, /--out \S*x\.npy would replace --embeddings \S*x\.npy:/],
    [{ out: 'x2.npy' }, /--out .* would replace --embeddings \S*x2\.npy: both/],
    [{ out: 'y.npy' }, /--out .* would replace --labels/],
    [{ out: 'split.npy' }, /--out .* would replace --split/],
    [{ ...kept, log: 'x.npy' }, /--log .* would replace --embeddings/],
    [{ ...kept, log: 'y.npy' }, /--log .* would replace --labels/],
    [{ ...kept, log: 'kept.st' }, /--log .* would replace --out/],
    [{ ...kept, log: '' }, /--log needs the name of a file/],
    [{ out: 'hard.npy' }, /would replace --labels/],
    [{ out: 'no/new.st', log: 'no/new.st' }, /--log .* would replace --out/],
  ])('%j', refuses);

  test.skipIf(!hasLinks).each<[Record<string, string>, RegExp]>([
    [
      { out: 'soft.npy' },
      /--out \S*soft\.npy would replace --labels \S*y\.npy/,
    ],
    [{ out: 'softer.npy' }, /would replace --labels/],
    [{ out: 'here/y.npy' }, /would replace --labels/],
    [{ out: 'new.st', log: 'here/new.st' }, /--log .* would replace --out/],
    [{ out: 'new.st', log: 'to-new' }, /--log .* would replace --out/],
  ])('%j', refuses);

  test('paths that are spelled in another way', async () => {
    const relative = path.relative(process.cwd(), set.embeddings);
    const roundabout = path.join(file('.'), 'no', '..', 'x.npy');
    // On another drive of Windows there is no relative one.
    const dotted = path.isAbsolute(relative) ? relative : `./${relative}`;
    for (const out of [relative, dotted, roundabout]) {
      const args = [...setOptions(set), '--out', out];
      await expectRefusal(train, args, /would replace --embeddings/);
    }
  });

  test('an archive that a script names', async () => {
    const args = given({ embeddings: 'v.scp', labels: 'y.npy', out: 'v.ark' });
    const message =
      /--out \S*v\.ark would replace \S*v\.ark, which --embeddings \S*v\.scp names:/;
    await expectRefusal(train, [...args, '--overwrite'], message);
  });

  test('a checkpoint that exists, without being told what to do', async () => {
    const args = [...setOptions(set), '--out', file('a.st')];
    const message =
      /--out \S*a\.st exists: --resume goes on .* --overwrite rep/;
    await expectRefusal(train, args, message);
    const both = [...args, '--resume', '--overwrite'];
    await expectRefusal(train, both, /either --resume, .*, or --overwrite/);
  });
});

describe('verify refuses', () => {
  const labelled = { embeddings: 'x.npy', labels: 'y.npy', split: 'split.npy' };
  const listed = {
    embeddings: 'x.npy',
    trials: 'trials.txt',
    names: 'names.txt',
  };
  const heads = { ...labelled, head: 'b.st', compare: 'c.json' };
  test.each<[Record<string, string>, RegExp]>([
    [{ ...labelled, json: 'x.npy' }, /--json .* would replace --embeddings/],
    [{ ...labelled, json: 'hard.npy' }, /--json .* would replace --labels/],
    [{ ...labelled, report: 'split.npy' }, /--report .* replace --split/],
    [{ ...listed, json: 'trials.txt' }, /--json .* would replace --trials/],
    [{ ...listed, report: 'names.txt' }, /--report .* would replace --names/],
    [{ ...listed, scores: 'trials.txt' }, /--scores .* replace --trials/],
    [{ ...labelled, cohort: 'x2.npy', json: 'x2.npy' }, /replace --cohort/],
    [
      { ...labelled, cohort: 'v.scp', json: 'v.ark' },
      /v\.ark, which --cohort \S*v\.scp names/,
    ],
    [{ ...heads, json: 'b.st' }, /--json .* would replace --head/],
    [{ ...heads, json: 'c.json' }, /--json .* would replace --compare/],
    [
      { ...labelled, json: 'r', report: 'r' },
      /--report .* would replace --json/,
    ],
    [{ ...labelled, report: '' }, /--report needs the name of a file/],
  ])('%j', (options, message) =>
    expectRefusal(verify, given(options), message),
  );
});

test('demo refuses a report without a name', () =>
  expectRefusal(demo, ['--report', ''], /--report needs the name of a file/));

test('what cannot be looked at is left to who reads or writes it', async () => {
  if (hasLinks) {
    const args = [...setOptions(set), '--out', file('loop')];
    await expect(train(args)).rejects.toMatchObject({ code: 'ERR_CHECKPOINT' });
  }
  const absent = given({ embeddings: 'no.scp', labels: 'y.npy', out: 'a.st' });
  await expect(train([...absent, '--overwrite'])).rejects.toMatchObject({
    code: 'ERR_CHECKPOINT',
  });
});

test('a refusal is bad usage; --overwrite replaces', async () => {
  const args = ['train', ...setOptions(set), '--epochs', '1'];
  const input = await runCli([...args, '--out', set.labels]);
  expect(input).toMatchObject({ code: 2, stdout: '' });
  expect(input.stderr).toMatch(
    /both are one file; see alphamargin train --help/,
  );
  const out = ['--out', file('twice.st')];
  expect((await runCli([...args, ...out])).code).toBe(0);
  const first = await readFile(file('twice.st'));
  const again = await runCli([...args, ...out, '--seed', '1']);
  expect(again).toMatchObject({ code: 2, stdout: '' });
  expect(await readFile(file('twice.st'))).toEqual(first);
  const replaced = [...args, ...out, '--seed', '1', '--overwrite'];
  expect(await runCli(replaced)).toMatchObject({ code: 0 });
  expect(await readFile(file('twice.st'))).not.toEqual(first);
});
