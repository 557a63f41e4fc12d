import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (file: string) =>
  fileURLToPath(new URL(`lib/${file}`, import.meta.url));

/** Tests of what no device has a part in: they run once, beside the CPU. */
const INDEPENDENT = [
  'test/docs.test.ts',
  'test/emulation.test.ts',
  'test/find-binary.test.ts',
  'test/io/**',
  'test/reference.test.ts',
  'test/tensor.test.ts',
  'test/verification/**',
];

/** `vitest run --project cuda` asks for a GPU; without that, none is expected. */
const gpuWanted = process.argv.some((argument) =>
  /^(--project=)?cuda$/.test(argument),
);

/** The one suite, on one device: what 'auto' means, in child processes too. */
function onDevice(device: string, exclude: string[]) {
  return {
    extends: true as const,
    test: {
      name: device,
      include: ['test/**/*.test.ts'],
      exclude: device === 'cuda' ? exclude : [...exclude, 'test/gpu.test.ts'],
      env: { ALPHAMARGIN_DEVICE: device },
      // Every thread of a kernel is run in turn: what takes seconds elsewhere takes a minute here.
      ...(device === 'cuda-emulated' ? { testTimeout: 300_000 } : {}),
      // One process at a time has the GPU.
      ...(device === 'cuda' ? { maxWorkers: 1 } : {}),
    },
  };
}

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
    testTimeout: 60_000,
    maxWorkers: 2,
    projects: [
      onDevice('cpu', []),
      onDevice('cuda-emulated', INDEPENDENT),
      ...(gpuWanted ? [onDevice('cuda', INDEPENDENT)] : []),
    ],
  },
});
