import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const inRepository = (file: string) =>
  fileURLToPath(new URL(file, import.meta.url));
const source = (file: string) => inRepository(`lib/${file}`);

/** Tests of what no device has a part in: they run once, beside the CPU. */
const INDEPENDENT = [
  'test/cli/input-checks.test.ts',
  'test/cli/kaldi-inputs.test.ts',
  'test/cli/saved-results.test.ts',
  'test/cli/train-from-disk.test.ts',
  'test/cli/usage.test.ts',
  'test/docs.test.ts',
  'test/emulation.test.ts',
  'test/data/**',
  'test/find-binary.test.ts',
  'test/io/**',
  'test/random.test.ts',
  'test/onnxruntime.test.ts',
  'test/kernel-sets.test.ts',
  'test/reference.test.ts',
  'test/tensor.test.ts',
  'test/verification/**',
];

/** Small files that take long on the emulated device. */
const LONG = [
  'test/device-order.test.ts',
  'test/device-tiers.test.ts',
  'test/device-filters.test.ts',
].map(inRepository);

/**
 * Within a project the long files first, then larger ones before smaller: one that begins last would
 * leave a processor idle for a minute.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]) {
    const sorted = await super.sort(files);
    const projects = [...new Set(sorted.map(({ project }) => project.name))];
    const rank = ({ project, moduleId }: TestSpecification) =>
      2 * projects.indexOf(project.name) + (LONG.includes(moduleId) ? 0 : 1);
    return sorted.sort((a, b) => rank(a) - rank(b));
  }
}

/** `vitest run --project cuda` asks for a GPU; without that, none is expected. */
const gpuWanted = process.argv.some((argument) =>
  /^(--project=)?cuda$/.test(argument),
);

/** `npm run test:browser` asks for Chromium; without that, none is expected. */
const browserWanted = process.argv.some((argument) =>
  /^(--project=)?browser$/.test(argument),
);

const BROWSER = 'test/browser/**/*.test.ts';

/** The one suite, on one device: what 'auto' means, in child processes too. */
function onDevice(device: string, exclude: string[]) {
  return {
    extends: true as const,
    test: {
      name: device,
      include: ['test/**/*.test.ts'],
      exclude: [
        BROWSER,
        ...exclude,
        ...(device === 'cuda' ? [] : ['test/gpu.test.ts']),
      ],
      env: { ALPHAMARGIN_DEVICE: device },
      // Every thread of a kernel is run in turn: what takes seconds elsewhere takes a minute here.
      ...(device === 'cuda-emulated' ? { testTimeout: 300_000 } : {}),
      // One process at a time has the GPU, and a new one for each file: after a fault of a kernel
      // nothing works any more in the old.
      ...(device === 'cuda' ? { maxWorkers: 1, isolate: true } : {}),
    },
  };
}

export default defineConfig({
  resolve: {
    // The examples of the documentation import the packages by their names.
    alias: [
      {
        find: /^@tensorflow\/tfjs$/,
        replacement: inRepository('test/helpers/tfjs.ts'),
      },
      { find: /^alphamargin$/, replacement: source('index.ts') },
      { find: /^alphamargin\/data$/, replacement: source('data/index.ts') },
      { find: /^alphamargin\/tfjs$/, replacement: source('tfjs/index.ts') },
      {
        find: /^alphamargin\/verification$/,
        replacement: source('verification/index.ts'),
      },
    ],
  },
  test: {
    // A crash of the addon must not take the runner along. Files share two processes a project: to
    // start one for each, and to load the library there, took a minute in all.
    pool: 'forks',
    isolate: false,
    testTimeout: 60_000,
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      onDevice('cpu', []),
      onDevice('cuda-emulated', INDEPENDENT),
      ...(gpuWanted ? [onDevice('cuda', INDEPENDENT)] : []),
      ...(browserWanted
        ? [
            {
              extends: true as const,
              test: { name: 'browser', include: [BROWSER] },
            },
          ]
        : []),
    ],
  },
});
