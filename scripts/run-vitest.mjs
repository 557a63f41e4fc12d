// Parts of the suite, for scripts that test what it usually does not run on.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const cwd = fileURLToPath(new URL('..', import.meta.url));

/**
 * Whether all tests passed, and any, in each of one or more runs of vitest, side by side, given their
 * arguments and what their environment has besides ours.
 */
export async function runVitest(project, runs, variables) {
  const folder = mkdtempSync(path.join(tmpdir(), 'alphamargin-tests-'));
  const env = { ...process.env, ...variables };
  const passes = async (args, i) => {
    const report = path.join(folder, `${i}.json`);
    const child = spawn(
      'npx',
      [
        ...['vitest', 'run', '--project', project, ...args],
        ...['--reporter=default', '--reporter=json'],
        `--outputFile.json=${report}`,
      ],
      { cwd, stdio: 'inherit', env },
    );
    const [status] = await once(child, 'exit');
    if (status !== 0) return false;
    // vitest is content where no test has the name that was asked for.
    const { numPassedTests } = JSON.parse(readFileSync(report, 'utf8'));
    if (numPassedTests === 0) console.error(`no test: ${args.join(' ')}`);
    return numPassedTests > 0;
  };
  const passed = await Promise.all(runs.map(passes));
  rmSync(folder, { recursive: true });
  return passed.every(Boolean);
}
