// What builds the addon for other systems on Linux: the C++ compiler of Zig, which brings the headers and
// libraries of each. From npm into build/zig, once (400 MB; the standard library of a target is compiled
// on first use, which takes a minute or two).
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages } from './npm-packages.mjs';

const VERSION = '0.16.0';
const PACKAGES = ['lib', `linux-${process.arch}`].map(
  (name) => `@zigc/${name}`,
);

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build', 'zig');

/** The compiler's node_modules. */
function install() {
  if (process.platform !== 'linux') {
    throw new Error('binaries for other systems are built on Linux');
  }
  return installPackages(
    folder,
    Object.fromEntries(PACKAGES.map((name) => [name, VERSION])),
  );
}

/** What Windows is told of Node: the names of its functions. The program must be called node.exe. */
function importLibrary(zig) {
  const library = path.join(folder, 'node.lib');
  const names = path.join(
    ...[root, 'node_modules', 'node-api-headers', 'def', 'node_api.def'],
  );
  execFileSync(zig, [
    'dlltool',
    '-m',
    'i386:x86-64',
    '-d',
    names,
    '-l',
    library,
  ]);
  return library;
}

/**
 * What CMake must be told to build for a target.
 *
 * @param target As Zig calls it, with the oldest version of the system: 'aarch64-macos.12.0'.
 * @param system As CMake calls it: 'Darwin'.
 */
export function zigSettings(target, system) {
  const modules = install();
  const programs = path.join(folder, target);
  mkdirSync(programs, { recursive: true });
  /** A program of one word, as CMake wants it. */
  const program = (name, command) => {
    const file = path.join(programs, name);
    writeFileSync(file, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
    return file;
  };
  const binary = path.join(modules, PACKAGES[1], 'bin', 'zig');
  const zig = program(
    'zig',
    `export ZIG_LIB_DIR='${path.join(modules, PACKAGES[0])}'\n` +
      `export ZIG_GLOBAL_CACHE_DIR='${path.join(folder, 'cache')}'\n` +
      `exec '${binary}' "$@"`,
  );
  return {
    CMAKE_SYSTEM_NAME: system,
    CMAKE_SYSTEM_PROCESSOR: target.split('-')[0],
    CMAKE_CXX_COMPILER: program(
      'c++',
      `exec '${zig}' c++ -target ${target} "$@"`,
    ),
    CMAKE_AR: program('ar', `exec '${zig}' ar "$@"`),
    CMAKE_RANLIB: program('ranlib', `exec '${zig}' ranlib "$@"`),
    // Stripped when it is linked: Apple's systems want the signature of what was linked last.
    CMAKE_SHARED_LINKER_FLAGS:
      system === 'Windows' ? `-s ${importLibrary(zig)}` : '-s',
    ...(system === 'Darwin'
      ? { CMAKE_INSTALL_NAME_TOOL: program('install_name_tool', 'exit 0') }
      : {}),
    ...(system === 'Windows'
      ? { CMAKE_RC_COMPILER: program('rc', `exec '${zig}' rc "$@"`) }
      : {}),
  };
}
