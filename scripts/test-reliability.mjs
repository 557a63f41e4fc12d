// The reliability suite: what docs/reliability.md promises, tried. Every part is a process of its own, so
// that a crash shows as one, and prints its figures; the exit status is 0 only if every claim held.
//
//   npm run test:reliability                      everything, about 10 minutes on 2 cores
//   npm run test:reliability -- --quick           a reduced form, about 2 minutes
//   npm run test:reliability -- --parts a,b       some parts
//   npm run test:reliability -- --seed 7          other random choices; failures print their seed
//   npm run test:reliability -- --calls 1000000   more hostile calls
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Parts in their order: name and what it is about. */
const PARTS = {
  boundary: 'hostile arguments to every function',
  parsers: 'damaged files to every reader',
  'native-fuzz': 'coverage-guided fuzzing of the native solver',
  lifetimes: 'threads, workers, dispose and abort',
  checkpoints: 'killed saves, full disks, flipped bits',
  'allocation-failures': 'every allocation of the addon fails in turn',
  'memory-growth': 'memory over many steps',
  numerics: 'hostile numbers against float64',
  soak: 'load, and the delay of the event loop',
  'supply-chain': 'what users install',
};

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    parts: { type: 'string' },
    seed: { type: 'string', default: '1' },
    calls: { type: 'string' },
  },
});
const wanted = values.parts?.split(',') ?? Object.keys(PARTS);
const unknown = wanted.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(
    `no such part: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`,
  );
  process.exit(2);
}

const failures = [];
const skipped = [];
for (const name of wanted) {
  console.log(`== ${name}: ${PARTS[name]}`);
  const log = path.join(os.tmpdir(), `alphamargin-${process.pid}-${name}`);
  const started = performance.now();
  const { status, signal, stdout } = spawnSync(
    process.execPath,
    [
      '--expose-gc',
      path.join(root, 'test', 'reliability', `${name}.mjs`),
      ...(values.quick ? ['--quick'] : []),
      ...['--seed', values.seed, '--log', log],
      ...(values.calls === undefined ? [] : ['--calls', values.calls]),
    ],
    {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 2 ** 28,
    },
  );
  process.stdout.write(stdout);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`      ${'seconds'.padEnd(58)} ${seconds}`);
  for (const [, what] of stdout.matchAll(/^SKIPPED (.*)$/gm)) {
    skipped.push(`${name}: ${what}`);
  }
  if (signal !== null || status !== 0) {
    const last = existsSync(log) ? readFileSync(log, 'utf8').trim() : '';
    failures.push(
      signal === null
        ? name
        : `${name} ended by ${signal}${last === '' ? '' : `, repeat with ${last}`}`,
    );
  }
  rmSync(log, { force: true });
}
for (const what of skipped) console.log(`SKIPPED: ${what}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(
  failures.length === 0
    ? `${wanted.length} parts held${skipped.length > 0 ? `, ${skipped.length} checks skipped` : ''}`
    : `${failures.length} of ${wanted.length} parts failed`,
);
process.exitCode = failures.length > 0 ? 1 : 0;
