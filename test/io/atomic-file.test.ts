import { execFileSync } from 'node:child_process';
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  writeFileAtomically,
  writeTextAtomically,
} from '../../lib/io/atomic-file.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();
const onWindows = process.platform === 'win32';

async function temporaryFiles(): Promise<string[]> {
  return (await readdir(file('.'))).filter((name) => name.endsWith('.tmp'));
}

test('the old file stays until the new one is complete', async () => {
  await writeFile(file('a'), 'old');
  await writeFileAtomically(file('a'), async (handle) => {
    await handle.writeFile('new');
    expect(await readFile(file('a'), 'utf8')).toBe('old');
    expect(await temporaryFiles()).toHaveLength(1);
  });
  expect(await readFile(file('a'), 'utf8')).toBe('new');
  expect(await temporaryFiles()).toEqual([]);
});

test("a writer's own error comes back unchanged and leaves the old file", async () => {
  await writeFile(file('b'), 'old');
  const failure = new Error('the source failed');
  const writing = writeFileAtomically(file('b'), async (handle) => {
    await handle.writeFile('half');
    throw failure;
  });
  await expect(writing).rejects.toBe(failure);
  expect(await readFile(file('b'), 'utf8')).toBe('old');
  expect(await temporaryFiles()).toEqual([]);
});

test('paths that cannot be written are named with the reason', async () => {
  await mkdir(file('directory'));
  await writeFile(file('plain'), '');
  const devices: [string, RegExp][] = [
    ['/dev/null', /\/dev\/null: .*not a regular file/],
    ['/proc/alphamargin', /\/proc\/alphamargin: cannot write the file/],
  ];
  const cases: [string, RegExp][] = [
    [file('absent/head'), /absent.head: cannot write .*no such file/],
    [file('directory'), /directory: cannot write .*not a regular file/],
    [file('plain/head'), onWindows ? /cannot write/ : /not a directory/],
    ...(onWindows ? [] : devices),
    [file('x'.repeat(300)), onWindows ? /cannot write/ : /name is too long/],
  ];
  for (const [path, message] of cases) {
    await expect(writeTextAtomically(path, 'text')).rejects.toMatchObject({
      name: 'AlphaMarginError',
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
  }
});

test.skipIf(onWindows)(
  'a symbolic link keeps pointing at its file',
  async () => {
    await writeFile(file('real'), 'old');
    await symlink(file('real'), file('link'));
    await writeTextAtomically(file('link'), 'new');
    expect((await lstat(file('link'))).isSymbolicLink()).toBe(true);
    expect(await readFile(file('real'), 'utf8')).toBe('new');
  },
);

test.skipIf(onWindows)(
  'running out of room is an error, not a short file',
  async () => {
    // A limit on the size of files stands in for a full disk.
    const module = fileURLToPath(
      new URL('../../dist/io/atomic-file.js', import.meta.url),
    );
    await writeFile(file('full'), 'old');
    const script = `
    import { writeFileAtomically, writeAll } from ${JSON.stringify(module)};
    writeFileAtomically(${JSON.stringify(file('full'))}, (handle) =>
      writeAll(handle, new Uint8Array(1 << 20)),
    ).catch((error) => console.log(error.code + ' ' + error.message));`;
    const output = execFileSync(
      'bash',
      [
        '-c',
        'ulimit -f 64 && exec "$0" --input-type=module -e "$1"',
        process.execPath,
        script,
      ],
      { encoding: 'utf8' },
    );
    expect(output).toMatch(/^ERR_CHECKPOINT .*size limit \(EFBIG\)/);
    expect(await readFile(file('full'), 'utf8')).toBe('old');
    expect(await temporaryFiles()).toEqual([]);
  },
);
