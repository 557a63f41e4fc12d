// The head benchmark: time and memory of one training step, next to the library product that
// would only make the logits. `npm run bench -- --help` says how to run it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { backendInfo } from '../dist/index.js';
import { environment } from './environment.mjs';
import { hasSgemm, measureSgemm } from './peers/sgemm.mjs';
import { QUICK_SETTINGS, SETTINGS } from './settings.mjs';
import { environmentLine, resultTable } from './table.mjs';

const HELP = `Usage: npm run bench -- [options]

Times PrototypeHead.step with fresh embeddings and a cold cache, and OpenBLAS's sgemm of the same
B x C x D if bench/peers/install.sh was run. Writes bench/results/head-PROCESSOR.json.

  --quick           small sizes, under a minute; writes a file only with --json
  --setting NAME    only this one; may be repeated (${Object.keys(SETTINGS).join(', ')})
  --batch, --identities, --dim, --alpha, --scale, --margin, --loss
                    change the settings (loss: q-margin, cosface, arcface, entmax)
  --seconds S       least time measured for each setting    (15; quick: 3)
  --samples N       fewest steps measured for each setting  (7; quick: 5)
  --threads N       threads of both sides                   (all cores)
  --json FILE       results file`;

const text = { type: 'string' };
const { values } = parseArgs({
  options: {
    help: { type: 'boolean', short: 'h' },
    quick: { type: 'boolean' },
    setting: { type: 'string', multiple: true },
    batch: text,
    identities: text,
    dim: text,
    alpha: text,
    scale: text,
    margin: text,
    loss: text,
    seconds: text,
    samples: text,
    threads: text,
    json: text,
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}

function number(name, fallback) {
  if (values[name] === undefined) return fallback;
  const value = Number(values[name]);
  if (Number.isFinite(value) && value > 0) return value;
  console.error(`--${name} must be a number > 0, not '${values[name]}'`);
  process.exit(2);
}

const available = values.quick ? QUICK_SETTINGS : SETTINGS;
const names = values.setting ?? Object.keys(available);
const unknown = names.find((name) => !Object.hasOwn(available, name));
if (unknown !== undefined) {
  const known = Object.keys(available).join(', ');
  console.error(`there is no setting '${unknown}' (${known})`);
  process.exit(2);
}
const changes = Object.fromEntries(
  ['batch', 'identities', 'dim', 'alpha', 'scale', 'margin']
    .map((name) => [name, number(name)])
    .concat([['loss', values.loss]])
    .filter(([, value]) => value !== undefined),
);
const how = {
  seconds: number('seconds', values.quick ? 3 : 15),
  smallestSamples: number('samples', values.quick ? 5 : 7),
  threads: number('threads', backendInfo().threads),
};

if (!hasSgemm()) {
  console.error(
    'OpenBLAS is not compared: run bench/peers/install.sh (Debian: libopenblas-dev) first.',
  );
}
const child = fileURLToPath(new URL('measure-head.mjs', import.meta.url));
const where = environment();
const results = names.map((name) => {
  const setting = { ...available[name], ...changes };
  console.error(`${name} …`);
  const sgemm = measureSgemm(setting, how);
  const argument = JSON.stringify({ setting, ...how });
  const output = execFileSync(process.execPath, [child, argument], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const head = JSON.parse(output);
  const ratio = sgemm && head.time.median / sgemm.time.median;
  return { name, setting, head, sgemm, ratio };
});
const run = { benchmark: 'head', environment: where, results };

console.log(`\n${environmentLine(run)}\n`);
console.log(resultTable(results));
console.log(`
GFLOP/s: of the logits alone, 2·B·C·D. Survivors and support: classes per row. Peak beyond state:
what the process held at most (VmHWM) less prototypes, optimiser state and what it held before the
head was made. Limit: 2 % of a B × C float32 array plus 64 MB.`);

const complete =
  !values.quick &&
  values.setting === undefined &&
  Object.keys(changes).length === 0;
const slug = `${where.device}-${where.cores}-${where.instructionSet}`
  .toLowerCase()
  .replace(/[^a-z0-9]+/g, '-');
const file =
  values.json ??
  (complete
    ? fileURLToPath(new URL(`results/head-${slug}.json`, import.meta.url))
    : undefined);
if (file !== undefined) {
  mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  writeFileSync(file, `${JSON.stringify(run, null, 2)}\n`);
  console.log(`\n${path.relative(process.cwd(), file)} written`);
}
