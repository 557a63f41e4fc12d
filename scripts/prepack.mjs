// Before the package is packed: its JavaScript is built, and there is a binary for it to carry. A package
// without either would install and then fail.
//
//   node scripts/prepack.mjs [FOLDER]      the folder that has prebuilds/; default: this one
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const prebuilds = path.resolve(process.argv[2] ?? root, 'prebuilds');
const binaries = existsSync(prebuilds)
  ? readdirSync(prebuilds, { recursive: true })
  : [];
if (!binaries.some((name) => name.endsWith('.node'))) {
  console.error(
    'prepack: no binary in prebuilds/: run npm run prebuilds first (--cpu-only without CUDA)',
  );
  process.exit(1);
}
// npm pack --json speaks on standard output.
execFileSync('npm', ['run', '--silent', 'build:ts'], {
  cwd: root,
  stdio: ['ignore', 2, 2],
});
