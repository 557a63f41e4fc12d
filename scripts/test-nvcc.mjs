// The addon as nvcc compiles it, on a machine without a GPU: linked to a libcudart that belongs to the
// emulated device (native/emulation/cudart). The host code under __CUDACC__ runs as it is shipped, and
// the kernels, CUB's too, from the PTX in the addon. What the test:ptx of the emulated device's own
// build does not have: the code that looks for devices, launches, memory pools, CUB.
//
//   node scripts/test-nvcc.mjs                       all tests; an hour on two processors
//   node scripts/test-nvcc.mjs -- test/head-vectors  these, with any of vitest's options
//   node scripts/test-nvcc.mjs --quick               QUICK
import { parseArgs } from 'node:util';
import { cmakeBuild } from './cmake-build.mjs';
import { findNvcc } from './nvcc.mjs';
import { runVitest } from './run-vitest.mjs';

/**
 * Runs of vitest, side by side: machines and CUB; every filter with two blocks of rows, with sub-centres
 * too; and posteriors, losses, steps of a head, identification.
 */
const QUICK = [
  ['test/nvcc', 'test/gpu'],
  ['test/device-tiers', 'test/device-sub-centres', '-t', 'wgmma\\S* B 131'],
  [
    ...['test/device-tiers', 'test/device-sub-centres'],
    ...['-t', ', (mma\\S*|simt) B 131'],
  ],
  [
    'test/entmax-backward',
    'test/head-checkpoint',
    'test/head-prototypes',
    'test/loss-vectors',
    'test/cli/verify-cohort',
  ],
];

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
});

findNvcc('test-nvcc');
const folder = cmakeBuild(
  'nvcc',
  ['alphamargin'],
  [
    ...['-DALPHAMARGIN_CUDA=ON', '-DALPHAMARGIN_EMULATED_CUDART=ON'],
    '-DALPHAMARGIN_WERROR=ON',
    '-DCMAKE_CUDA_ARCHITECTURES=90a-virtual',
    '-DCMAKE_CUDA_FLAGS=-no-compress -lineinfo',
    // Of the host's half alone. With less than -O3, GCC takes CUB for careless.
    '-DCMAKE_CUDA_FLAGS_RELEASE=-O1 -DNDEBUG -Xcompiler=-Wno-maybe-uninitialized',
  ],
);
const passed = await runVitest('nvcc', values.quick ? QUICK : [positionals], {
  ALPHAMARGIN_PREBUILD: folder,
});
process.exit(passed ? 0 : 1);
