// Trains every loss on a folder of real feature vectors with one recipe and three seeds, verifies
// unseen identities, and prints mean and spread. A folder holds features.npy [N, D], identities.npy
// [N] and split.npy [N] (0 train, 1 test; test identities never occur in train).
//
//   node bench/real-data.mjs --data DIR --name lfw [--seeds 3] [--json FILE]
//
// With --hold-out SEED the test split stays closed: a hundred training identities are verified
// instead. That, and --recipe='FLAGS', is how the recipes (recipes.mjs) were chosen.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readNpy, writeNpy } from '../dist/index.js';
import { environment } from './environment.mjs';
import { uniform } from './random.mjs';
import { LOSSES, RECIPES } from './recipes.mjs';

const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

const FARS = [1e-1, 1e-2, 1e-3];

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    name: { type: 'string' },
    seeds: { type: 'string', default: '3' },
    json: { type: 'string' },
    recipe: { type: 'string' },
    'hold-out': { type: 'string' },
  },
});
if (options.data === undefined || RECIPES[options.name] === undefined) {
  console.error(
    `usage: node bench/real-data.mjs --data DIR --name ${Object.keys(RECIPES).join('|')}`,
  );
  process.exit(2);
}

const work = mkdtempSync(path.join(os.tmpdir(), 'alphamargin-real-data-'));
const files = [
  '--embeddings',
  path.join(options.data, 'features.npy'),
  '--labels',
  path.join(options.data, 'identities.npy'),
  '--split',
  options['hold-out'] === undefined
    ? path.join(options.data, 'split.npy')
    : await holdOut(Number(options['hold-out'])),
];

/** A split that verifies a hundred of the training identities and hides the test identities. */
async function holdOut(seed) {
  const identities = (await readNpy(path.join(options.data, 'identities.npy')))
    .data;
  const split = (await readNpy(path.join(options.data, 'split.npy'))).data;
  const counts = new Map();
  split.forEach((part, row) => {
    const identity = identities[row];
    if (part === 0) counts.set(identity, (counts.get(identity) ?? 0) + 1);
  });
  const pairs = [...counts].filter(([, count]) => count >= 2);
  const random = uniform(seed);
  const held = new Set(
    pairs
      .map(([identity]) => ({ identity, key: random() }))
      .sort((a, b) => a.key - b.key)
      .slice(0, Math.min(100, Math.floor(pairs.length / 3)))
      .map(({ identity }) => identity),
  );
  const parts = Uint8Array.from(split, (part, row) =>
    part !== 0 ? 2 : held.has(identities[row]) ? 1 : 0,
  );
  const file = path.join(work, 'split.npy');
  await writeNpy(file, { type: 'uint8', data: parts, dims: [parts.length] });
  return file;
}

function run(args) {
  execFileSync(process.execPath, [cli, ...args], { stdio: 'ignore' });
}

/** TAR at each FAR and EER of every system of a verification. */
function verify(head) {
  const json = path.join(work, 'verify.json');
  run(['verify', ...files, '--json', json, ...head]);
  const { systems } = JSON.parse(readFileSync(json, 'utf8'));
  return systems.map(({ summary }) => [
    ...FARS.map(
      (far) => summary.tarAtFar.find((entry) => entry.far === far)?.tar ?? NaN,
    ),
    summary.eer.rate,
  ]);
}

function meanAndSpread(samples) {
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  const spread = Math.max(...samples) - Math.min(...samples);
  return { mean, spread };
}

const recipe = options.recipe ?? RECIPES[options.name];
const seeds = Array.from({ length: Number(options.seeds) }, (_, i) => i);
const [raw] = verify([]);
const rows = [{ loss: 'raw features', runs: [raw], seconds: [] }];
for (const [loss, flags] of Object.entries(LOSSES)) {
  const row = { loss, flags, runs: [], seconds: [] };
  for (const seed of seeds) {
    const head = path.join(work, 'head.safetensors');
    const started = performance.now();
    run(
      ['train', ...files, '--out', head, '--overwrite'].concat(
        ['--checkpoint-every', '0'],
        recipe.split(' '),
        flags.split(' '),
        ['--seed', String(seed)],
      ),
    );
    row.seconds.push((performance.now() - started) / 1000);
    const systems = verify(['--head', head]);
    row.runs.push(systems[systems.length - 1]);
  }
  rows.push(row);
}
rmSync(work, { recursive: true });

const head = FARS.map((far) => `TAR@FAR ${far}`).concat('EER', 'seconds');
console.log(`| loss | ${head.join(' | ')} |`);
console.log(`|---|${head.map(() => '---').join('|')}|`);
for (const row of rows) {
  const cells = row.runs[0].map((_, metric) => {
    const { mean, spread } = meanAndSpread(row.runs.map((run) => run[metric]));
    const shown = mean.toFixed(4);
    return row.runs.length > 1
      ? `${shown} ± ${(spread / 2).toFixed(4)}`
      : shown;
  });
  const longest = row.seconds.length
    ? Math.max(...row.seconds).toFixed(1)
    : '–';
  console.log(`| ${row.loss} | ${cells.join(' | ')} | ${longest} |`);
}
if (options.json !== undefined) {
  const result = {
    ...environment(),
    data: options.name,
    recipe,
    metrics: [...FARS.map((far) => `TAR@FAR ${far}`), 'EER'],
    rows,
  };
  writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
}
