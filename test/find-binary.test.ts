import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { useTemporaryDirectory } from './io/temporary-directory.js';

/*
 * An addon that cannot be loaded. Each case is a process of its own, which finds its binaries in a
 * folder the test fills; a crash shows as its signal.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const addon = path.join(root, 'build', 'Release', 'alphamargin.node');
const here = `${process.platform}-${process.arch}`;
const onLinux = process.platform === 'linux';
const directory = useTemporaryDirectory();

/** What the first call prints: its result, or the error's code and message. */
async function firstCall(folder: string, env: NodeJS.ProcessEnv = {}) {
  const script = `
    import { entmaxSync, tensor } from 'alphamargin';
    try {
      const p = entmaxSync(tensor(Float32Array.of(1, 1), [1, 2]), { device: 'cpu' });
      console.log(p.data.join());
    } catch ({ code, message }) {
      console.log(code + ': ' + message);
    }`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script],
    {
      cwd: root,
      env: { ...process.env, ALPHAMARGIN_PREBUILD: folder, ...env },
    },
  );
  return stdout.trim();
}

/** A folder with a file in prebuilds/PLATFORM. */
async function prebuilt(platform: string, name: string, bytes: Uint8Array) {
  const folder = directory(`${platform}-${name}-${bytes.length}`);
  await mkdir(path.join(folder, 'prebuilds', platform), { recursive: true });
  await writeFile(path.join(folder, 'prebuilds', platform, name), bytes);
  return folder;
}

describe('the addon', () => {
  it('is loaded from prebuilds, under the name that is published', async () => {
    const binary = await readFile(addon);
    const name = onLinux ? 'alphamargin.glibc.node' : 'alphamargin.node';
    const folder = await prebuilt(here, name, binary);
    expect(await firstCall(folder, { LIBC: 'glibc' })).toBe('0.5,0.5');
  });
});

describe('an addon that cannot be loaded', () => {
  it('is an error with all folders tried and the remedy', async () => {
    const folder = directory('empty');
    const said = await firstCall(folder);
    expect(said).toContain('ERR_NO_BINARY: alphamargin: no native addon');
    expect(said).toContain(`for ${here}, Node ${process.version}`);
    for (const place of ['build/Release', 'build/Debug', `prebuilds/${here}`]) {
      expect(said).toContain(`${path.join(folder, place)}: nothing`);
    }
    const beside = path.join(path.dirname(process.execPath), 'prebuilds', here);
    expect(said).toContain(`${beside}: nothing`);
    if (onLinux) {
      expect(said).toContain('remedy: build it from source:');
      expect(said).toContain('npm install && npm run build:native');
      expect(said).toContain('apt-get install cmake g++ make');
    }
    expect(said).not.toContain('install the package again');
  });

  it('names no folders of local builds where only prebuilt ones count', async () => {
    const said = await firstCall(directory('empty'), { PREBUILDS_ONLY: '1' });
    expect(said).toContain('ERR_NO_BINARY');
    expect(said).not.toContain('build/Release');
  });

  it('says for which platforms there are binaries', async () => {
    const folder = await prebuilt('plan9-x64', 'a.node', new Uint8Array(1));
    expect(await firstCall(folder)).toContain(
      `${path.join('prebuilds', here)}: nothing; there are binaries for plan9-x64`,
    );
  });

  it.runIf(onLinux).each([
    ['musl', 'glibc'],
    ['glibc', 'musl'],
  ])('says that a binary is for %s, on a system with %s', async (libc, own) => {
    const name = `alphamargin.${libc}.node`;
    const folder = await prebuilt(here, name, new Uint8Array(1));
    expect(await firstCall(folder, { LIBC: own })).toContain(
      `prebuilds/${here}: ${name} is for systems with ${libc}`,
    );
  });

  it('is not a crash where a file ends early', async () => {
    const binary = await readFile(addon);
    const whole = binary.length;
    // Windows can do without what fills up the last part.
    const almost = onLinux ? [whole - 1] : [];
    const lengths = [0, 63, 100, 5000, whole >> 1, ...almost];
    for (const length of lengths) {
      const part = binary.subarray(0, length);
      const folder = await prebuilt(here, 'alphamargin.node', part);
      const said = await firstCall(folder);
      expect(said).toContain('ERR_NO_BINARY');
      expect(said).toContain('alphamargin.node cannot be loaded: ');
      expect(said).toContain('remedy: install the package again.');
      if (onLinux && length >= 64) {
        expect(said).toContain(`truncated: ${length} of ${whole} bytes`);
      }
    }
  });

  it('says what the system says of a file that is no library', async () => {
    const text = new TextEncoder().encode('<!DOCTYPE html>'.repeat(100));
    const folder = await prebuilt(here, 'alphamargin.node', text);
    // glibc and musl have these words, other systems theirs.
    expect(await firstCall(folder)).toMatch(
      onLinux
        ? /cannot be loaded: .*(invalid ELF header|Exec format error)/
        : /cannot be loaded: \S/,
    );
  });
});
