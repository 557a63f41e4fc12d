// Parts of the suite, for scripts that test what it usually does not run on.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const cwd = fileURLToPath(new URL('..', import.meta.url));

/**
 * Whether all tests passed of one or more runs of vitest, side by side, given their arguments and what
 * their environment has besides ours.
 */
export async function runVitest(project, runs, variables) {
  const passed = await Promise.all(
    runs.map(async (args) => {
      const child = spawn(
        'npx',
        ['vitest', 'run', '--project', project, ...args],
        { cwd, stdio: 'inherit', env: { ...process.env, ...variables } },
      );
      const [status] = await once(child, 'exit');
      return status === 0;
    }),
  );
  return passed.every(Boolean);
}
