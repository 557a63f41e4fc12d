// Part 2, readers in TypeScript. test/io/fuzz.test.ts damages files of every format (cut, flipped, huge
// sizes in headers) and reads them with bounded memory; here with more rounds and other seeds.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { amount, check, figure, options } from './support.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rounds = amount(4000, 300);
const { status, stdout, stderr } = spawnSync(
  process.execPath,
  [
    ...['node_modules/vitest/vitest.mjs', 'run', '--project', 'cpu'],
    ...['--reporter', 'json', 'test/io/fuzz.test.ts'],
  ],
  {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    env: {
      ...process.env,
      ALPHAMARGIN_FUZZ_ROUNDS: String(rounds),
      ALPHAMARGIN_FUZZ_SEED: options.seed,
    },
  },
);
let tests = 0;
try {
  tests = JSON.parse(stdout).numPassedTests;
} catch {
  // Reported below.
}
figure('readers and formats', tests);
figure('damaged files read', tests * rounds);
check(
  status === 0 && tests > 0,
  'damaged files are read or refused, in bounded memory',
  `${stdout.slice(-3000)}${stderr}`,
);
