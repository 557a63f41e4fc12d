import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { backendInfo } from '../lib/index.js';

/* Every kernel set this CPU runs against the portable one (test/native/kernel_sets_*_test.cc), and the solver. */

const program = fileURLToPath(
  new URL('../build/Release/kernel_sets_test', import.meta.url),
);

const SET_OF_FLAG = {
  avx2: 'avx2',
  avx_vnni: 'avx2-vnni',
  avx512_vnni: 'avx512-vnni',
  asimddp: 'neon-dotprod',
  i8mm: 'neon-i8mm',
};
const cpuInformation = '/proc/cpuinfo';
const cpuFlags = new Set(
  (existsSync(cpuInformation) ? readFileSync(cpuInformation, 'utf8') : '')
    .split('\n')
    .find((line) => /^(flags|Features)\b/.test(line))
    ?.split(/\s+/),
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
    // The tiles of AMX, on processors without them too.
    if (backendInfo().cpuFeatures.includes('avx512vnni')) {
      expect(stdout).toMatch(/^amx in software: /m);
    }
    // What the system says of the processor, which the addon asks by other ways.
    for (const [flag, set] of Object.entries(SET_OF_FLAG)) {
      if (cpuFlags.has(flag)) expect(stdout).toMatch(RegExp(`^${set}: `, 'm'));
    }
    expect(stdout).toContain('row solver: 4000 rows solved alike');
    expect(status).toBe(0);
  });

  // The filter's bytes are coarser in some sets (native/cpu/byte_vectors.h); what is kept is not.
  it('give a head the same bits and the same survivors', () => {
    const script = fileURLToPath(
      new URL('./helpers/head-run.mjs', import.meta.url),
    );
    const run = (instructionSet: string) => {
      const { status, stderr, stdout } = spawnSync(process.execPath, [script], {
        encoding: 'utf8',
        env: { ...process.env, ALPHAMARGIN_INSTRUCTION_SET: instructionSet },
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      const { instructionSet: used, ...results } = JSON.parse(stdout) as {
        instructionSet: string;
        survivors: number[];
        digest: string;
      };
      return { used, results };
    };
    const portable = run('portable');
    expect(portable.used).toBe('portable');
    // More than the supports, and far from all.
    for (const count of portable.results.survivors) {
      expect(count).toBeGreaterThan(500);
      expect(count).toBeLessThan(40_000);
    }
    const sets =
      process.arch === 'arm64'
        ? ['neon', 'neon-dotprod', 'neon-i8mm']
        : ['avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'amx'];
    for (const set of sets) {
      // A set this CPU lacks falls back to the best below it.
      expect(run(set).results, set).toEqual(portable.results);
    }
  });
});
