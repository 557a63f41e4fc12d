// The suite of the emulated device on the PTX that nvcc makes of the kernels, in place of the same
// sources compiled for the host. What differs: instructions in assembly and code for devices alone are
// run, CUDA's mathematical functions take the place of the host's, every access to memory is checked, and
// threads can be interrupted between barriers.
//
//   node scripts/test-ptx.mjs                       all tests; half an hour on two processors
//   node scripts/test-ptx.mjs -- test/head-vectors  these, with any of vitest's options
//   node scripts/test-ptx.mjs --quick               QUICK
//   node scripts/test-ptx.mjs --keep-ptx            with the PTX of the last run
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { emulatedPtx } from './emulated-ptx.mjs';

/**
 * Runs of vitest, side by side: every filter with two blocks of rows, with sub-centres too; and
 * posteriors, losses, steps of a head, identification.
 */
const QUICK = [
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
  options: {
    quick: { type: 'boolean', default: false },
    'keep-ptx': { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

const cwd = fileURLToPath(new URL('..', import.meta.url));
const env = await emulatedPtx('test-ptx', values['keep-ptx']);

/** Whether all tests of a run passed. */
async function passes(args) {
  const child = spawn(
    'npx',
    ['vitest', 'run', '--project', 'cuda-emulated', ...args],
    { cwd, stdio: 'inherit', env },
  );
  const [status] = await once(child, 'exit');
  return status === 0;
}

const runs = values.quick ? QUICK : [positionals];
const passed = await Promise.all(runs.map(passes));
process.exit(passed.every(Boolean) ? 0 : 1);
