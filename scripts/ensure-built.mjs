// Makes a clone ready to run: installs the npm packages, then builds what is older than its
// sources. Prints nothing when nothing is to do.
//
// Nothing from npm is imported here: in a fresh clone there is no node_modules.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

const OLDEST_CMAKE = [3, 20];
const PACKAGES =
  process.platform === 'darwin'
    ? 'On macOS: xcode-select --install, and cmake from Homebrew'
    : 'On Debian and Ubuntu: apt-get install cmake g++ make';

/** What is built, from what, into what. */
const PARTS = [
  {
    script: 'build:native',
    sources: ['native', 'test/native', 'CMakeLists.txt', 'package.json'],
    output: 'build/Release/alphamargin.node',
    before: prepareNativeBuild,
  },
  {
    script: 'build:ts',
    sources: ['lib', 'tsconfig.json', 'tsconfig.build.json'],
    output: 'dist/index.js',
    before: () => {},
  },
];

function fail(message) {
  console.error(`alphamargin: ${message}`);
  process.exit(1);
}

function npm(...args) {
  console.log(`alphamargin: npm ${args.join(' ')}`);
  const { status, error } = spawnSync('npm', args, { stdio: 'inherit' });
  if (error !== undefined) fail(`npm cannot be run: ${error.message}`);
  if (status !== 0) process.exit(status || 1);
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Whether node_modules holds what package-lock.json asks for. Contents are compared, not times:
 * a checkout gives the lock file a new time without changing it.
 */
function isInstalled() {
  const wanted = readJson('package-lock.json')?.packages;
  const installed = readJson('node_modules/.package-lock.json')?.packages;
  if (wanted === undefined) fail('package-lock.json is missing or damaged');
  if (installed === undefined) return false;
  return Object.entries(wanted).every(
    ([name, { version, optional, devOptional }]) =>
      name === '' ||
      (installed[name] === undefined
        ? optional === true || devOptional === true
        : installed[name].version === version && existsSync(name)),
  );
}

/** Time of the newest file or directory; a directory's own time tells of removed files. */
function newest(file) {
  const stats = statSync(file);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return readdirSync(file).reduce(
    (time, name) => Math.max(time, newest(path.join(file, name))),
    stats.mtimeMs,
  );
}

function isCurrent({ sources, output }) {
  if (!existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  return sources.every((source) => newest(source) <= built);
}

/** Standard output of a program, or undefined when it is missing or fails. */
function outputOf(command, args, input = '') {
  const run = spawnSync(command, args, { input, encoding: 'utf8' });
  return run.error === undefined && run.status === 0 ? run.stdout : undefined;
}

function hasCmake() {
  const text = outputOf('cmake', ['--version']) ?? '';
  const version = text
    .match(/version (\d+)\.(\d+)/)
    ?.slice(1)
    .map(Number);
  if (version === undefined) return false;
  const [major, minor] = version;
  const [oldestMajor, oldestMinor] = OLDEST_CMAKE;
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

function hasCompiler() {
  const program = '#include <bit>\n#include <concepts>\n#include <span>\n';
  const options = ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-'];
  const wish = process.env.CXX?.trim().split(/\s+/)[0];
  return (wish ? [wish] : ['c++', 'g++', 'clang++']).some(
    (compiler) => outputOf(compiler, options, program) !== undefined,
  );
}

function checkToolchain() {
  if (process.platform === 'win32') {
    fail(
      'the native addon is not built on Windows. On Linux npm run prebuilds -- --platform win32-x64 ' +
        'makes the binary of the package (docs/builds.md)',
    );
  }
  const missing = [];
  if (!hasCmake()) missing.push(`cmake (${OLDEST_CMAKE.join('.')} or newer)`);
  if (!hasCompiler()) missing.push('a C++20 compiler');
  const builders = ['ninja', 'make'];
  if (builders.every((name) => outputOf(name, ['--version']) === undefined)) {
    missing.push('make or ninja');
  }
  if (missing.length === 0) return;
  fail(
    `the native addon cannot be built: ${missing.join(', ')} not found. ` +
      PACKAGES,
  );
}

function prepareNativeBuild() {
  // A copied clone carries a cache that would build the sources it was copied from.
  const cache = 'build/CMakeCache.txt';
  if (!existsSync(cache)) return;
  const home = readFileSync(cache, 'utf8').match(
    /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m,
  )?.[1];
  if (home !== root) rmSync('build', { recursive: true, force: true });
}

const stale = PARTS.filter((part) => !isCurrent(part));
// Before the packages are installed: what cannot succeed should fail within a second.
if (stale.some(({ script }) => script === 'build:native')) checkToolchain();
// CI machines and NODE_ENV=production leave out the tools that build and test.
if (!isInstalled()) npm('ci', '--include=dev', '--no-audit', '--no-fund');
for (const { script, before, output } of stale) {
  before();
  const started = new Date();
  npm('run', '--silent', script);
  // The time of the start: a source saved while the build ran counts as newer, and a build that
  // found nothing to change is not repeated.
  utimesSync(output, started, started);
}
