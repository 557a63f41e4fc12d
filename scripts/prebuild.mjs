// Builds the addon as it is published, into prebuilds/PLATFORM-ARCH: CPU kernels of all tiers and,
// where nvcc is found, CUDA kernels for every architecture; no emulated device. Checks the binary.
//
//   node scripts/prebuild.mjs [--cpu-only] [--out FOLDER]
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
import { reportBinary } from './check-binary.mjs';
import { CMAKE_CUDA_ARCHITECTURES } from './cuda-architectures.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    'cpu-only': { type: 'boolean', default: false },
    out: { type: 'string', default: root },
  },
});
const cpuOnly = values['cpu-only'];
const folder = path.join(root, 'build', cpuOnly ? 'prebuild-cpu' : 'prebuild');
const out = path.resolve(values.out);
const prebuilds = path.join(
  out,
  'prebuilds',
  `${process.platform}-${process.arch}`,
);
// What is found there in the end is what was built now.
rmSync(prebuilds, { recursive: true, force: true });

execFileSync(
  process.execPath,
  [
    createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
    ...['compile', '--out', path.join(folder, 'build')],
    ...['--target', 'alphamargin'],
    '--CDALPHAMARGIN_EMULATION=OFF',
    ...(cpuOnly
      ? ['--CDALPHAMARGIN_CUDA=OFF']
      : [`--CDCMAKE_CUDA_ARCHITECTURES=${CMAKE_CUDA_ARCHITECTURES}`]),
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
  ...{ cwd: folder, out, name: 'alphamargin' },
  ...{ napi: true, strip: true, tagLibc: true, nodeGyp: 'true' },
});
const built = readdirSync(prebuilds).map((name) => path.join(prebuilds, name));
if (!built.map(reportBinary).every(Boolean)) process.exitCode = 1;
