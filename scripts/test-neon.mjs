// The NEON kernels on a machine without them: cross-compiles the core and the test of the kernel sets
// for aarch64, and runs it under qemu.
import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { aarch64Tools } from './aarch64.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build', 'neon');
let tools;
try {
  tools = aarch64Tools();
} catch (error) {
  console.error(`the NEON kernels were NOT tested: ${error.message}`);
  process.exit(1);
}

const show = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] };
execFileSync(
  'cmake',
  [
    '-S',
    root,
    '-B',
    folder,
    ...Object.entries(tools.settings).map((entry) => `-D${entry.join('=')}`),
    '-DCMAKE_BUILD_TYPE=Release',
    // The emulator then needs no libraries of the other system.
    '-DCMAKE_EXE_LINKER_FLAGS=-static',
    '-DALPHAMARGIN_CUDA=OFF',
    '-DALPHAMARGIN_EMULATION=OFF',
  ],
  show,
);
const jobs =
  process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism());
execFileSync(
  'cmake',
  ['--build', folder, '--target', 'kernel_sets_test', '--parallel', jobs],
  show,
);

const program = path.join(folder, 'Release', 'kernel_sets_test');
const { status, stdout, stderr } = spawnSync(tools.emulator, [program], {
  encoding: 'utf8',
});
process.stdout.write(stdout);
process.stderr.write(stderr);
const sets = ['neon-i8mm', 'neon-dotprod', 'neon'];
if (status !== 0 || !sets.every((set) => stdout.includes(`${set}: `))) {
  console.error(`the NEON kernels failed under ${tools.emulator}`);
  process.exitCode = 1;
}
