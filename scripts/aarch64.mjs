// What builds programs for aarch64 on another Linux machine and runs them there: Debian's cross compiler
// and qemu's user mode. It shows what they compute, not how fast.
import { spawnSync } from 'node:child_process';

const PREFIX = 'aarch64-linux-gnu';
export const AARCH64_STRIP = `${PREFIX}-strip`;
const EMULATORS = ['qemu-aarch64-static', 'qemu-aarch64'];

function isThere(program) {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** The programs, and what CMake must be told; throws with what to install. */
export function aarch64Tools() {
  const compiler = `${PREFIX}-g++`;
  const emulator = EMULATORS.find(isThere);
  if (emulator === undefined || !isThere(compiler)) {
    throw new Error(
      'a cross compiler and an emulator for aarch64 are needed. On Debian and Ubuntu: ' +
        'apt-get install g++-aarch64-linux-gnu qemu-user-static',
    );
  }
  return {
    emulator,
    /** Where the emulator finds the C library. */
    libraries: `/usr/${PREFIX}`,
    settings: {
      CMAKE_SYSTEM_NAME: 'Linux',
      CMAKE_SYSTEM_PROCESSOR: 'aarch64',
      CMAKE_CXX_COMPILER: compiler,
    },
  };
}
