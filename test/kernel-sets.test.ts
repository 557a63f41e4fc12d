import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { backendInfo } from '../lib/index.js';

/* Every kernel set this CPU runs against the portable one (test/native/kernel_sets_*_test.cc), and the solver. */

const program = fileURLToPath(
  new URL('../build/Release/kernel_sets_test', import.meta.url),
);

describe('the kernel sets', () => {
  it('agree', () => {
    const { error, status, stderr, stdout } = spawnSync(program, {
      encoding: 'utf8',
    });
    expect(error).toBeUndefined();
    expect(stderr).toBe('');
    expect(stdout).toContain(`${backendInfo().instructionSet}: `);
    expect(stdout).toMatch(/^portable: /m);
    expect(stdout).toContain('row solver: 4000 rows solved alike');
    expect(status).toBe(0);
  });
});
