// Reads vitest's JSON report and prints one line, `N passed, N failed[, N skipped]`. Exits with 1
// when a test failed or none ran.
import { readFileSync } from 'node:fs';

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    // The run ended before it could write one.
    return { testResults: [] };
  }
}

let passed = 0;
let failed = 0;
let skipped = 0;
for (const file of readReport(process.argv[2]).testResults) {
  const states = file.assertionResults.map(({ status }) => status);
  const failures = states.filter((state) => state === 'failed').length;
  passed += states.filter((state) => state === 'passed').length;
  // A file that cannot be loaded has no tests; it is one failure all the same.
  failed += file.status === 'failed' ? Math.max(1, failures) : failures;
  skipped += states.filter((state) => !/^(passed|failed)$/.test(state)).length;
}
const counts = [`${passed} passed`, `${failed} failed`];
if (skipped > 0) counts.push(`${skipped} skipped`);
console.log(counts.join(', '));
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
