// Builds the addon as it is published, into prebuilds/: CPU kernels of all tiers and, for this platform
// where nvcc is found, CUDA kernels for every architecture; no emulated device. Checks the binary.
//
//   node scripts/prebuild.mjs [--cpu-only] [--platform NAME … | --all] [--out FOLDER]
//
// Names are those of scripts/platforms.mjs; default: the platform this runs on. The others take a cross
// compiler and have no CUDA kernels.
//
// In a build folder of its own: build/Release stays what the tests run on. Not called `prebuild` in
// package.json, because npm would run it before every `build`.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import prebuildify from 'prebuildify';
import { reportBinary } from './check-binary.mjs';
import { CMAKE_CUDA_ARCHITECTURES } from './cuda-architectures.mjs';
import { ownPlatform, PLATFORM_NAMES, platformOf } from './platforms.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    'cpu-only': { type: 'boolean', default: false },
    platform: { type: 'string', multiple: true, default: [ownPlatform] },
    all: { type: 'boolean', default: false },
    out: { type: 'string', default: root },
  },
});
const out = path.resolve(values.out);

/** What CMake is told besides how to build the addon alone. */
function settingsOf(cpuOnly, platform) {
  return {
    ALPHAMARGIN_EMULATION: 'OFF',
    ...(cpuOnly ? { ALPHAMARGIN_CUDA: 'OFF' } : { CMAKE_CUDA_ARCHITECTURES }),
    ...(platform.isOwn ? platform.settings : platform.cross()),
  };
}

/** Builds for one platform; returns whether it may be published. */
async function build(name) {
  const platform = platformOf(name);
  const { isOwn, arch, libc } = platform;
  if (process.platform === 'win32') {
    throw new Error('binaries for Windows are built on Linux: docs/builds.md');
  }
  if (!isOwn && platform.cross === undefined) {
    throw new Error(`${name}: this is built on that platform only`);
  }
  const cpuOnly = values['cpu-only'] || !isOwn;
  const parts = ['prebuild', cpuOnly && 'cpu', !isOwn && name];
  const folder = path.join(root, 'build', parts.filter(Boolean).join('-'));
  const binary = path.join(out, 'prebuilds', platform.file);
  // What is found there in the end is what was built now.
  rmSync(binary, { force: true });

  execFileSync(
    process.execPath,
    [
      createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
      ...['compile', '--arch', arch, '--out', path.join(folder, 'build')],
      ...['--target', 'alphamargin'],
      ...Object.entries(settingsOf(cpuOnly, platform)).map(
        (entry) => `--CD${entry.join('=')}`,
      ),
    ],
    {
      cwd: root,
      stdio: 'inherit',
      env: {
        ...process.env,
        CMAKE_BUILD_PARALLEL_LEVEL:
          process.env.CMAKE_BUILD_PARALLEL_LEVEL ??
          String(availableParallelism()),
      },
    },
  );
  // Strips the binary and names it so that node-gyp-build finds it. It is built already: `true` stands
  // in for the node-gyp that prebuildify would call.
  await promisify(prebuildify)({
    ...{ cwd: folder, out, arch, platform: platform.platform, libc },
    ...{ name: 'alphamargin', napi: true, tagLibc: libc !== undefined },
    ...{ strip: isOwn || platform.strip !== undefined, nodeGyp: 'true' },
    stripBin: isOwn ? 'strip' : platform.strip,
  });
  return reportBinary(binary);
}

try {
  for (const name of new Set(values.all ? PLATFORM_NAMES : values.platform)) {
    if (!(await build(name))) process.exitCode = 1;
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
