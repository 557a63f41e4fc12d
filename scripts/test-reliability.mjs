// The reliability suite: what docs/reliability.md promises, tried. Every part is a process of its own, so
// that a crash shows as one, and prints its figures; the exit status is 0 only if every claim held.
//
//   npm run test:reliability                      everything, about 10 minutes on 2 cores
//   npm run test:reliability -- --quick           a reduced form, about 2 minutes
//   npm run test:reliability -- --parts a,b       some parts
//   npm run test:reliability -- --seed 7          other random choices; failures print their seed
//   npm run test:reliability -- --calls 1000000   more hostile calls
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inParallel } from './in-parallel.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Parts, the longest first: name and what it is about. */
const PARTS = {
  'native-fuzz': 'coverage-guided fuzzing of the native solver',
  'allocation-failures': 'every allocation of the addon fails in turn',
  boundary: 'hostile arguments to every function',
  parsers: 'damaged files to every reader',
  numerics: 'hostile numbers against float64',
  'supply-chain': 'what users install',
  lifetimes: 'threads, workers, dispose and abort',
  checkpoints: 'killed saves, full disks, flipped bits',
  'memory-growth': 'memory over many steps',
  soak: 'load, and the delay of the event loop',
};

/** What measures the machine, or uses all of it; the others run side by side. */
const ALONE = ['lifetimes', 'checkpoints', 'memory-growth', 'soak'];

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

/** Runs a part; resolves to { status, signal, stdout }. */
function outcome(name, log) {
  const args = [
    '--expose-gc',
    path.join(root, 'test', 'reliability', `${name}.mjs`),
    ...(values.quick ? ['--quick'] : []),
    ...['--seed', values.seed, '--log', log],
    ...(values.calls === undefined ? [] : ['--calls', values.calls]),
  ];
  const options = { cwd: root, maxBuffer: 2 ** 28 };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, options, (error, stdout) => {
      const { code = 0, signal = null } = error ?? {};
      resolve({ status: code, signal, stdout });
    });
    child.stderr.pipe(process.stderr);
  });
}

async function run(name) {
  const log = path.join(os.tmpdir(), `alphamargin-${process.pid}-${name}`);
  const started = performance.now();
  const { status, signal, stdout } = await outcome(name, log);
  console.log(`== ${name}: ${PARTS[name]}`);
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

await inParallel(
  wanted.filter((name) => !ALONE.includes(name)),
  run,
);
for (const name of wanted.filter((name) => ALONE.includes(name))) {
  await run(name);
}
for (const what of skipped) console.log(`SKIPPED: ${what}`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(
  failures.length === 0
    ? `${wanted.length} parts held${skipped.length > 0 ? `, ${skipped.length} checks skipped` : ''}`
    : `${failures.length} of ${wanted.length} parts failed`,
);
process.exitCode = failures.length > 0 ? 1 : 0;
