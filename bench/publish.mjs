// Copies figures of results files into docs/performance.md and draws the curves into docs/images,
// so that none is typed by hand. A block whose results are not given keeps what it has.
//
//   node bench/publish.mjs                       the newest results of each part in bench/results
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

/** The runs to publish: one for each part. */
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
    const { date } = run.environment;
    const other = newest.get(run.benchmark);
    if (!other || other.environment.date < date) newest.set(run.benchmark, run);
  }
  return newest;
}

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
for (const [name, run] of published) {
  const marked = new RegExp(
    `(<!-- bench:${name} -->\\n)[\\s\\S]*?(<!-- /bench:${name} -->)`,
  );
  if (!marked.test(text)) {
    console.error(`${page} has no place marked bench:${name}`);
    process.exit(1);
  }
  const block = await blockOf(run);
  // A function: a figure may hold what replacement patterns mean something by.
  text = text.replace(marked, (_, begin, end) => `${begin}${block}\n${end}`);
}
writeFileSync(page, text);
console.log(`${page}: ${[...published.keys()].join(', ') || 'nothing new'}`);
