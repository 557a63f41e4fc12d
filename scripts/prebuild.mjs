// Builds the addon as it is published, into prebuilds/PLATFORM-ARCH: CPU kernels of all tiers and,
// where nvcc is found, CUDA kernels for every architecture; no emulated device. Checks the binary.
//
//   node scripts/prebuild.mjs [--cpu-only] [--arch NAME …] [--out FOLDER]
//
// --arch arm64 on another processor takes a cross compiler (scripts/aarch64.mjs); there are no CUDA
// kernels for it.
//
// In a build folder of its own: build/Release stays what the tests run on. Not called `prebuild` in
// package.json, because npm would run it before every `build`.
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import prebuildify from 'prebuildify';
import { aarch64Tools } from './aarch64.mjs';
import { reportBinary } from './check-binary.mjs';
import { CMAKE_CUDA_ARCHITECTURES } from './cuda-architectures.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    'cpu-only': { type: 'boolean', default: false },
    arch: { type: 'string', multiple: true, default: [process.arch] },
    out: { type: 'string', default: root },
  },
});
const out = path.resolve(values.out);

/** What CMake is told besides how to build the addon alone. */
function settingsOf(cpuOnly, tools) {
  return {
    ALPHAMARGIN_EMULATION: 'OFF',
    ...(cpuOnly ? { ALPHAMARGIN_CUDA: 'OFF' } : { CMAKE_CUDA_ARCHITECTURES }),
    ...tools?.settings,
  };
}

/** Builds for one processor; returns whether it may be published. */
async function build(arch) {
  const isForeign = arch !== process.arch;
  if (isForeign && arch !== 'arm64') {
    throw new Error(`--arch: expected ${process.arch} or arm64, not ${arch}`);
  }
  const tools = isForeign ? aarch64Tools() : undefined;
  const cpuOnly = values['cpu-only'] || isForeign;
  const name = ['prebuild', cpuOnly && 'cpu', isForeign && arch];
  const folder = path.join(root, 'build', name.filter(Boolean).join('-'));
  const prebuilds = path.join(out, 'prebuilds', `${process.platform}-${arch}`);
  // What is found there in the end is what was built now.
  rmSync(prebuilds, { recursive: true, force: true });

  execFileSync(
    process.execPath,
    [
      createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
      ...['compile', '--arch', arch, '--out', path.join(folder, 'build')],
      ...['--target', 'alphamargin'],
      ...Object.entries(settingsOf(cpuOnly, tools)).map(
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
    ...{ cwd: folder, out, arch, name: 'alphamargin' },
    ...{ napi: true, strip: true, stripBin: tools?.strip ?? 'strip' },
    ...{ tagLibc: true, nodeGyp: 'true' },
  });
  return readdirSync(prebuilds)
    .map((file) => reportBinary(path.join(prebuilds, file)))
    .every(Boolean);
}

try {
  for (const arch of new Set(values.arch)) {
    if (!(await build(arch))) process.exitCode = 1;
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
