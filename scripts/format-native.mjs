// Formats (or with --check verifies) every C++ file with the clang-format that npm installs, so
// that no machine's own version decides.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format } from '@wasm-fmt/clang-format';

const checkOnly = process.argv.includes('--check');
const files = execFileSync(
  'git',
  ['ls-files', '-co', '--exclude-standard', 'native', 'test'],
  { encoding: 'utf8' },
)
  .split('\n')
  .filter((file) => /\.(h|cc|cu|cuh|inl)$/.test(file));
// The library sees no files: the style is handed over, and the name, which decides what the first
// include is.
const style = readFileSync('.clang-format', 'utf8');

let unformatted = 0;
for (const file of files) {
  const source = readFileSync(file, 'utf8');
  const formatted = format(source, path.basename(file), style);
  if (formatted === source) continue;
  unformatted += 1;
  if (checkOnly) console.error(`not formatted: ${file}`);
  else writeFileSync(file, formatted);
}
if (checkOnly && unformatted > 0) {
  console.error('run: npm run format');
  process.exit(1);
}
console.log(
  checkOnly
    ? `${files.length} C++ files are formatted`
    : `${unformatted} of ${files.length} C++ files changed`,
);
