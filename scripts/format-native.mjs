// Formats (or with --check verifies) every C++ file with the clang-format that npm installs, so
// that no machine's own version decides.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const checkOnly = process.argv.includes('--check');
const require = createRequire(import.meta.url);
const formatter = path.join(
  path.dirname(require.resolve('@wasm-fmt/clang-format/package.json')),
  'clang-format-cli.cjs',
);
const files = execFileSync(
  'git',
  ['ls-files', '-co', '--exclude-standard', 'native', 'test'],
  { encoding: 'utf8' },
)
  .split('\n')
  .filter((file) => /\.(h|cc|cu|cuh|inl)$/.test(file));

let unformatted = 0;
for (const file of files) {
  const source = readFileSync(file, 'utf8');
  const formatted = execFileSync(process.execPath, [formatter, file], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
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
