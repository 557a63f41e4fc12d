// The suite of the emulated device on the PTX that nvcc makes of the kernels, in place of the same
// sources compiled for the host. What differs: instructions in assembly and code for devices alone are
// run, CUDA's mathematical functions take the place of the host's, every access to memory is checked, and
// threads can be interrupted between barriers.
//
//   node scripts/test-ptx.mjs                       all tests; half an hour on two processors
//   node scripts/test-ptx.mjs -- test/head-vectors  these, with any of vitest's options
//   node scripts/test-ptx.mjs --keep-ptx            with the PTX of the last run
import { parseArgs } from 'node:util';
import { emulatedPtx } from './emulated-ptx.mjs';
import { runVitest } from './run-vitest.mjs';

const { values, positionals } = parseArgs({
  options: {
    'keep-ptx': { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

const env = await emulatedPtx('test-ptx', values['keep-ptx']);
const passed = await runVitest('cuda-emulated', [positionals], env);
process.exit(passed ? 0 : 1);
