// The NEON kernels on a machine without them: cross-compiles the core and the test of the kernel sets
// for aarch64, and runs it under qemu. It says what the kernels compute, not how fast.
import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build', 'neon');
const compiler = 'aarch64-linux-gnu-g++';
const isThere = (program) =>
  spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;

const emulator = ['qemu-aarch64-static', 'qemu-aarch64'].find(isThere);
if (emulator === undefined || !isThere(compiler)) {
  console.error(
    'the NEON kernels were NOT tested: a cross compiler and an emulator for aarch64 are needed. ' +
      'On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user-static',
  );
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
    '-DCMAKE_SYSTEM_NAME=Linux',
    '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
    `-DCMAKE_CXX_COMPILER=${compiler}`,
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
const { status, stdout, stderr } = spawnSync(emulator, [program], {
  encoding: 'utf8',
});
process.stdout.write(stdout);
process.stderr.write(stderr);
if (status !== 0 || !stdout.includes('neon: ')) {
  console.error(`the NEON kernels failed under ${emulator}`);
  process.exitCode = 1;
}
