import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { AlphaMarginError } from './errors.js';

/** node-gyp-build: finds the binary for platform, processor and C library. */
interface Finder {
  /** Path of the binary below a folder; throws when there is none. */
  resolve(folder: string): string;
  parseTags(file: string): { readonly libc?: string } | undefined;
}

function finder(): Finder {
  return createRequire(import.meta.url)('node-gyp-build') as Finder;
}

/** Path of the addon of a package, built here or prebuilt; throws when there is none. */
export function findBinary(packageRoot: string): string {
  return finder().resolve(packageRoot);
}

/**
 * Throws for a shared library that ends early. The system's loader maps what its header promises:
 * where the file has no such page, the process dies of SIGBUS.
 */
export function checkWhole(file: string): void {
  const header = Buffer.alloc(64);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  const isElf64 = header.readUInt32BE(0) === 0x7f454c46 && header[4] === 2;
  if (!isElf64) return; // the loader says so
  // The table of sections is the last thing in the file.
  const start = header.readBigUInt64LE(0x28);
  const length = header.readUInt16LE(0x3a) * header.readUInt16LE(0x3c);
  const { size } = statSync(file);
  const whole = start + BigInt(length);
  if (size < whole) {
    throw new Error(`the file is truncated: ${size} of ${whole} bytes`);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Folders that are searched, in order: node-gyp-build's rules. */
function searched(packageRoot: string): string[] {
  const { env } = process;
  const root = env.ALPHAMARGIN_PREBUILD || packageRoot;
  const platform = `${env.npm_config_platform || process.platform}-${
    env.npm_config_arch || process.arch
  }`;
  const built = env.PREBUILDS_ONLY ? [] : ['build/Release', 'build/Debug'];
  return [
    ...built.map((folder) => path.join(root, folder)),
    path.join(root, 'prebuilds', platform),
    path.join(path.dirname(process.execPath), 'prebuilds', platform),
  ];
}

/** What a folder has for us: one sentence for each binary. */
function finding(folder: string, tried: string | undefined, cause: Error) {
  const binaries = namesIn(folder).filter((name) => name.endsWith('.node'));
  if (binaries.length > 0) {
    return binaries
      .map((name) => {
        if (path.join(folder, name) === tried) {
          return `${name} cannot be loaded: ${cause.message}`;
        }
        const libc = finder().parseTags(name)?.libc;
        return libc === undefined
          ? `${name} does not fit`
          : `${name} is for systems with ${libc}`;
      })
      .join('; ');
  }
  const above = path.dirname(folder);
  const platforms = path.basename(above) === 'prebuilds' ? namesIn(above) : [];
  return platforms.length > 0
    ? `nothing; there are binaries for ${platforms.join(', ')}`
    : 'nothing';
}

/** What a build from source needs, by the system. */
const NEEDED: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: [
    'This needs cmake 3.20 or newer, make or ninja, and a C++20 compiler',
    '(on Debian: apt-get install cmake g++ make).',
  ],
  darwin: [
    'This needs cmake 3.20 or newer and the compiler of Xcode',
    '(xcode-select --install).',
  ],
};

/** What helps where a package that is installed again does not. */
function buildRemedy(packageRoot: string): readonly string[] {
  const needed = NEEDED[process.platform];
  if (needed === undefined) {
    if (process.platform !== 'win32') return ['use Linux, macOS or Windows.'];
    return process.arch === 'x64'
      ? [
          'make the binary on Linux, in a clone, before the package is packed:',
          'npm run prebuilds -- --platform win32-x64',
        ]
      : ['use Node for x64, which the binary for Windows is for.'];
  }
  return [
    'build it from source:',
    `cd ${packageRoot} && npm install && npm run build:native`,
    ...needed,
  ];
}

/**
 * The error for an addon that cannot be loaded: what was tried, what was found, and the remedy.
 *
 * @param tried The binary that was found and does not load; undefined when none was found.
 */
export function noBinary(
  packageRoot: string,
  tried: string | undefined,
  cause: Error,
): AlphaMarginError {
  const again =
    tried === undefined
      ? ''
      : 'install the package again. If that does not help, ';
  const lines = searched(packageRoot).map(
    (folder) => `${folder}: ${finding(folder, tried, cause)}`,
  );
  return new AlphaMarginError(
    'ERR_NO_BINARY',
    `alphamargin: no native addon could be loaded for ${process.platform}-${process.arch}, ` +
      `Node ${process.version}.\n  tried: ${lines.join('\n         ')}\n` +
      `  remedy: ${again}${buildRemedy(packageRoot).join('\n          ')}`,
    { cause },
  );
}
