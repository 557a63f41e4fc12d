// The addon as nvcc compiles it, on a machine without a GPU: linked to a libcudart that belongs to the
// emulated device (native/emulation/cudart). The host code under __CUDACC__ runs as nvcc compiles it, and
// the kernels, CUB's too, from the PTX in the addon. What the test:ptx of the emulated device's own
// build does not have: the code that looks for devices, launches, memory pools, CUB. Fails as well when
// host code calls what the device alone has (scripts/device-calls.mjs).
//
//   node scripts/test-nvcc.mjs                       all tests; half an hour on two processors
//   node scripts/test-nvcc.mjs -- test/head-vectors  these, with any of vitest's options
//   node scripts/test-nvcc.mjs --quick               QUICK
//   node scripts/test-nvcc.mjs --arch=80             for another architecture, on a device of it
import path from 'node:path';
import { parseArgs } from 'node:util';
import { cmakeBuild } from './cmake-build.mjs';
import { deviceCallsOnHost } from './device-calls.mjs';
import { findNvcc } from './nvcc.mjs';
import { runVitest } from './run-vitest.mjs';

/**
 * Runs of vitest, side by side: machines and CUB; every filter with two blocks of rows, and two of them
 * with sub-centres; posteriors, losses, steps of a head.
 */
const QUICK = [
  ['test/nvcc', 'test/gpu'],
  ['test/device-tiers', '-t', 'wgmma\\S* B 131'],
  ['test/device-tiers', '-t', ', (mma\\S*|simt) B 131'],
  ['test/device-sub-centres', '-t', ', (mma|wgmma-int8) B 131'],
  [
    'test/entmax-backward',
    'test/head-checkpoint',
    'test/head-prototypes',
    'test/loss-vectors',
  ],
];

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    arch: { type: 'string', default: '90a' },
  },
  allowPositionals: true,
});

findNvcc('test-nvcc');
const { arch } = values;
const folder = cmakeBuild(
  arch === '90a' ? 'nvcc' : `nvcc-${arch}`,
  ['alphamargin'],
  [
    ...['-DALPHAMARGIN_CUDA=ON', '-DALPHAMARGIN_EMULATED_CUDART=ON'],
    '-DALPHAMARGIN_WERROR=ON',
    `-DCMAKE_CUDA_ARCHITECTURES=${arch}-virtual`,
    '-DCMAKE_CUDA_FLAGS=-no-compress -lineinfo',
    // Of the host's half alone. With less than -O3, GCC takes CUB for careless.
    '-DCMAKE_CUDA_FLAGS_RELEASE=-O1 -DNDEBUG -Xcompiler=-Wno-maybe-uninitialized',
  ],
);
if (process.arch === 'x64') {
  const addon = path.join(folder, 'build', 'Release', 'alphamargin.node');
  const calls = await deviceCallsOnHost(addon);
  for (const { caller, callee } of calls) {
    console.error(`${caller}\ncalls on the host ${callee}`);
  }
  if (calls.length > 0) process.exit(1);
}
const passed = await runVitest('nvcc', values.quick ? QUICK : [positionals], {
  ALPHAMARGIN_PREBUILD: folder,
  ALPHAMARGIN_EMULATED_CUDART: `capability=${Number.parseInt(arch, 10)}`,
});
process.exit(passed ? 0 : 1);
