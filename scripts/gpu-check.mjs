// What the kernels have to show on a GPU, in the order in which one thing is worth nothing before the
// other, for a machine that is there for minutes: every part has a limit of its own and a log, and what no
// longer fits is left out and said.
//
//   node scripts/gpu-check.mjs [--seconds 540] [--out FOLDER] [--only PART …] [--device cuda]
//
// After a build with CUDA (`npm run build`). Exits with 1 when a part failed or was left out.
// --device cuda-emulated goes through the same parts in small, to try this script.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '540' },
    out: { type: 'string', default: path.join(root, 'build', 'gpu-check') },
    only: { type: 'string', multiple: true },
    device: { type: 'string', default: 'cuda' },
  },
});
const { device } = values;
const emulated = device === 'cuda-emulated';
const out = path.resolve(values.out);
const deadline = Date.now() + 1000 * Number(values.seconds);
/** Less than that is not worth a start. */
const LEAST_SECONDS = 15;

const file = (...names) => path.join(root, ...names);
const node = (...args) => [process.execPath, ...args];
const vitest = (...tests) =>
  node(
    file('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--project',
    device,
    ...tests,
  );

/** The benchmark of some programs of one setting. */
function bench(folder, setting, programs, ...more) {
  const size = emulated
    ? ['--quick', '--setting', 'gpu-300-d33-b19']
    : ['--setting', setting, '--seconds', '1', '--samples', '5', ...more];
  return node(
    file('bench', 'bench.mjs'),
    ...['--device', device, ...size, '--out', path.join(out, folder)],
    ...programs.flatMap((name) => ['--program', name]),
  );
}

/** Where CUDA puts what is not on PATH. */
function sanitizer() {
  const usual = '/usr/local/cuda/bin/compute-sanitizer';
  return existsSync(usual) ? usual : 'compute-sanitizer';
}

const gpu = spawnSync(
  'nvidia-smi',
  [
    '--query-gpu=name,driver_version,compute_cap,memory.total',
    '--format=csv,noheader',
  ],
  { encoding: 'utf8' },
);
console.log(gpu.stdout?.trim() || 'nvidia-smi says nothing');
/** Whether the kernels with the instructions of Hopper are measured, too. */
const onHopper = emulated || / 9\.0,/.test(gpu.stdout ?? '');

/** Programs of the benchmark; the second list is for Hopper alone. */
const withHopper = (programs, forHopper) => [
  ...programs,
  ...(onHopper ? forHopper : []),
];
const ALL = withHopper(
  ['gemm', 'eager', 'evaluate', 'step', 'stepFast'],
  ['evaluateWgmma', 'stepWgmma', 'stepWgmmaFast'],
);
/** The files that compare every filter, every loss and the products with the references. */
const KERNELS = [
  ...(emulated ? [] : ['test/gpu.test.ts', 'test/device-tiers.test.ts']),
  'test/device-sub-centres.test.ts',
  ...['test/device-fast.test.ts', 'test/head-vectors.test.ts'],
  ...['test/loss-vectors.test.ts', 'test/entmax.test.ts'],
];

const PARTS = [
  {
    name: 'device',
    limit: 20,
    command: node(file('dist', 'cli', 'main.js'), 'info'),
  },
  { name: 'kernels', limit: 180, command: vitest(...KERNELS) },
  {
    name: 'speed-1m',
    limit: 150,
    command: bench('1m', 'gpu-1m-d512-b1024', ALL),
  },
  {
    name: 'speed-1m-trained',
    limit: 150,
    command: bench('1m-trained', 'gpu-1m-d512-b1024-trained', ALL),
  },
  {
    name: 'speed-10m',
    limit: 150,
    command: bench(
      '10m',
      'gpu-10m-d512-b1024',
      withHopper(['gemm', 'stepFast'], ['stepWgmmaFast']),
    ),
  },
  {
    name: 'thirty-million',
    limit: 120,
    command: bench(
      ...[
        '30m',
        'gpu-10m-d512-b1024',
        withHopper(['stepSplit'], ['stepWgmmaSplit']),
      ],
      ...['--identities', '30000000'],
    ),
  },
  {
    name: 'memcheck',
    limit: 150,
    command: [
      ...[sanitizer(), '--tool', 'memcheck', '--target-processes', 'all'],
      ...[
        '--error-exitcode',
        '1',
        ...vitest('test/gpu.test.ts', 'test/head-vectors.test.ts'),
      ],
    ],
  },
  // Of all files, on this device.
  { name: 'suite', limit: 400, command: vitest() },
];

/** Runs a part to its end or its limit; returns how it went. */
async function run({ name, limit, command }) {
  const left = (deadline - Date.now()) / 1000;
  if (left < LEAST_SECONDS) return { name, result: 'left out: no time' };
  const log = path.join(out, `${name}.log`);
  const descriptor = openSync(log, 'w');
  const begin = Date.now();
  const child = spawn(command[0], command.slice(1), {
    cwd: root,
    // A group of its own, so that its children end with it.
    detached: true,
    stdio: ['ignore', descriptor, descriptor],
    env: { ...process.env, CI: 'true', NO_COLOR: '1' },
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    process.kill(-child.pid, 'SIGKILL');
  }, 1000 * Math.min(limit, left));
  const code = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', resolve);
  });
  clearTimeout(timer);
  const seconds = Math.round((Date.now() - begin) / 1000);
  const result = late
    ? 'ran out of time'
    : code === 0
      ? 'ok'
      : `failed: ${code}`;
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  console.log(`== ${name}: ${result}, ${seconds} s`);
  console.log(lines.slice(result === 'ok' ? -12 : -40).join('\n'));
  return { name, result, seconds };
}

const unknown = values.only?.find(
  (name) => !PARTS.some((part) => part.name === name),
);
if (unknown !== undefined) {
  console.error(
    `no part ${unknown}: ${PARTS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}
mkdirSync(out, { recursive: true });
const results = [];
for (const part of PARTS) {
  if (values.only !== undefined && !values.only.includes(part.name)) continue;
  results.push(await run(part));
}
console.log('== in all');
for (const { name, result, seconds = 0 } of results) {
  console.log(`${name.padEnd(18)} ${String(seconds).padStart(4)} s  ${result}`);
}
process.exitCode = results.every(({ result }) => result === 'ok') ? 0 : 1;
