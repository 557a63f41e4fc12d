// Programs named `node` that run Node of another platform here: arm64 under qemu, Windows under wine. They
// show what it computes, not how fast.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { aarch64Tools } from './aarch64.mjs';

function pathOf(program, packages) {
  try {
    const found = execFileSync('which', [program], { encoding: 'utf8' });
    return found.trim();
  } catch {
    throw new Error(
      `${program} is needed. On Debian and Ubuntu: apt-get install ${packages}`,
    );
  }
}

/** Debian's wine 8 runs Node up to 22. */
const WINE_NODES = ['20.20.2', '22.23.3'];

/**
 * What runs Node of a platform; undefined where nothing does.
 *
 * `versions`: those it is tried with, of all that are. `program(folder)`: where the package of Node for
 * that platform has it. `script(node, folder)`: the launcher, which may leave things in the folder.
 */
export const LAUNCHERS = {
  'linux-arm64': {
    versions: (all) => [all.at(0), all.at(-1)],
    program: (folder) => path.join(folder, 'bin', 'node'),
    script(node) {
      const { emulator, libraries } = aarch64Tools();
      const qemu = pathOf(emulator, 'qemu-user-static');
      return `#!/bin/sh\nexec ${qemu} -L ${libraries} '${node}' "$@"\n`;
    },
  },
  'win32-x64': {
    versions: () => WINE_NODES,
    program: (folder) => path.join(folder, 'bin', 'node.exe'),
    // Windows' Node cannot write into a pipe of Linux, and wine says things of its own.
    script(node, folder) {
      const wine = pathOf('wine', 'wine wine64');
      const environment = [
        ...[
          `HOME='${folder}'`,
          `WINEPREFIX='${folder}/wine'`,
          'WINEDEBUG=-all',
        ],
        ...['NODE_SKIP_PLATFORM_CHECK=1', "PATH='/usr/bin:/bin'"],
      ];
      return `#!/bin/sh
export ${environment.join(' ')}
'${wine}' '${node}' "$@" >'${folder}/stdout' 2>'${folder}/stderr' </dev/null
status=$?
cat '${folder}/stdout'
cat '${folder}/stderr' >&2
exit $status
`;
    },
  },
};
