// Copies the figures of a results file into docs/performance.md, so that none is typed by hand.
// Usage: node bench/publish.mjs bench/results/head-….json
import { readFileSync, writeFileSync } from 'node:fs';
import { environmentLine, resultTable } from './table.mjs';

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error('usage: node bench/publish.mjs RESULTS.json');
  process.exit(2);
}
const run = JSON.parse(readFileSync(file, 'utf8'));
const page = new URL('../docs/performance.md', import.meta.url);
const marked = /(<!-- bench:head -->\n)[\s\S]*?(<!-- \/bench:head -->)/;
const text = readFileSync(page, 'utf8');
if (!marked.test(text)) {
  console.error('docs/performance.md has no place marked bench:head');
  process.exit(1);
}
const figures = `${environmentLine(run)}\n\n${resultTable(run.results)}\n`;
writeFileSync(page, text.replace(marked, `$1${figures}$2`));
console.log('docs/performance.md updated');
