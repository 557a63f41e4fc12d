import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // A crash of the addon must fail one file, not the runner.
    pool: 'forks',
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
