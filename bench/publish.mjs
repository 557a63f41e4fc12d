// Copies figures of results files into docs/performance.md and draws the curves into docs/images,
// so that none is typed by hand. A block whose results are not given keeps what it has.
//
//   node bench/publish.mjs                       the newest results of each part in bench/results;
//                                                what is promised, steps and nearest, of every
//                                                machine
//   node bench/publish.mjs FILE… [--docs DIR]    those files; another folder than docs/
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PARTS } from './parts/index.mjs';
import { drawCurves } from './plots.mjs';
import { profileTable } from './profile-table.mjs';
import { RESULTS, readResults } from './results.mjs';
import { environmentLine } from './table.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    docs: {
      type: 'string',
      default: fileURLToPath(new URL('../docs', import.meta.url)),
    },
  },
});

const isKnown = ({ benchmark, results }) =>
  benchmark === 'profile' ||
  (Object.hasOwn(PARTS, benchmark ?? '') &&
    results.every(({ contenders }) => contenders !== undefined));

/** Parts whose results of every machine are shown, not those of the machine measured last. */
const OF_EVERY_MACHINE = new Set(['acceptance', 'head', 'nearest']);

function machineOf({ benchmark, environment }) {
  if (!OF_EVERY_MACHINE.has(benchmark)) return '';
  return `${environment.device} ${environment.instructionSet}`;
}

/** The runs to publish: by part, the newest of each machine that is shown, newest first. */
function runs() {
  const given = positionals.length > 0;
  const files = given
    ? positionals
    : readdirSync(RESULTS)
        .filter((name) => name.endsWith('.json'))
        .map((name) => path.join(RESULTS, name));
  const newest = new Map();
  for (const file of files) {
    const run = readResults(file);
    if (run === undefined || !isKnown(run)) {
      // The folder holds other results too, such as those on real data.
      if (given) console.error(`${file} holds no results of a part`);
      continue;
    }
    const key = `${run.benchmark} ${machineOf(run)}`;
    const other = newest.get(key);
    if (!other || dateOf(other) < dateOf(run)) newest.set(key, run);
  }
  const published = new Map();
  const newestFirst = [...newest.values()].sort((a, b) =>
    dateOf(a) < dateOf(b) ? 1 : -1,
  );
  for (const run of newestFirst) {
    const { benchmark } = run;
    published.set(benchmark, [...(published.get(benchmark) ?? []), run]);
  }
  return published;
}

const dateOf = ({ environment }) => environment.date;

async function blockOf(run) {
  if (run.benchmark === 'profile') return profileTable(run);
  const images = await drawCurves(run, path.join(values.docs, 'images'));
  return [
    environmentLine(run),
    ...images.map(({ name, title }) => `![${title}](images/${name})`),
    PARTS[run.benchmark].table(run.results),
  ].join('\n\n');
}

const page = path.join(values.docs, 'performance.md');
let text = readFileSync(page, 'utf8');
const published = runs();
for (const [name, ofMachines] of published) {
  const marked = new RegExp(
    `(<!-- bench:${name} -->\\n)[\\s\\S]*?(<!-- /bench:${name} -->)`,
  );
  if (!marked.test(text)) {
    console.error(`${page} has no place marked bench:${name}`);
    process.exit(1);
  }
  const blocks = await Promise.all(ofMachines.map(blockOf));
  const block = blocks.join('\n\n');
  // A function: a figure may hold what replacement patterns mean something by.
  text = text.replace(marked, (_, begin, end) => `${begin}${block}\n${end}`);
}
writeFileSync(page, text);
console.log(`${page}: ${[...published.keys()].join(', ') || 'nothing new'}`);
