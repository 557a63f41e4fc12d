import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const inOneProcess = fileURLToPath(
  new URL('in-one-process.mjs', import.meta.url),
);

/** What a run of the command line left behind. */
export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the built command line as a child process.
 *
 * @param onStderr Called with the process and all of stderr so far, whenever it grows.
 */
export function runCli(
  args: readonly string[],
  onStderr?: (child: ChildProcess, stderr: string) => void,
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args]);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
      onStderr?.(child, stderr);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Runs several command lines that end by themselves, one after the other in one process. */
export function runAll(lines: readonly (readonly string[])[]): CliResult[] {
  return JSON.parse(
    execFileSync(process.execPath, [inOneProcess], {
      input: JSON.stringify([main, lines]),
      encoding: 'utf8',
    }),
  );
}
