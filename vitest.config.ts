import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (file: string) =>
  fileURLToPath(new URL(`lib/${file}`, import.meta.url));

export default defineConfig({
  resolve: {
    // The examples of the documentation import the package by its name.
    alias: [
      { find: /^alphamargin$/, replacement: source('index.ts') },
      {
        find: /^alphamargin\/verification$/,
        replacement: source('verification/index.ts'),
      },
    ],
  },
  test: {
    // A crash of the addon must fail one file, not the runner.
    pool: 'forks',
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
