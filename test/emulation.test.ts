import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { backendInfo } from '../lib/index.js';

/* The emulated device's own tests (test/native/emulation_test.cc), one process each. */

const program = fileURLToPath(
  new URL('../build/Release/emulation_test', import.meta.url),
);
const { emulation } = backendInfo();
const cases =
  emulation && existsSync(program)
    ? execFileSync(program, ['--list'], { encoding: 'utf8' })
        .trim()
        .split('\n')
        .filter((name) => !name.startsWith('asan'))
    : [];

describe.runIf(emulation)('the emulated device', () => {
  it('has tests of its own', () => {
    expect(cases.length).toBeGreaterThan(10);
  });

  it.each(cases)('%s', (name) => {
    const { status, stderr } = spawnSync(program, [name], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
});
