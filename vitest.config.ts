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

/** Projects that need what is not on every machine: `vitest run --project NAME` asks for them. */
const isWanted = (project: string) =>
  process.argv.some((argument) =>
    new RegExp(`^(--project=)?${project}$`).test(argument),
  );

const BROWSER = 'test/browser/**/*.test.ts';
/** On a real GPU. */
const GPU = 'test/gpu.test.ts';
/** On what nvcc compiled, with the emulated device's libcudart (scripts/test-nvcc.mjs). */
const NVCC = 'test/nvcc/**/*.test.ts';

/** Every thread of a kernel is run in turn: what takes seconds elsewhere takes a minute here. */
const EMULATED = { testTimeout: 300_000 };

/**
 * The one suite, but for `exclude`; `device` is what 'auto' means, in child processes too.
 */
function suite(
  name: string,
  device: string,
  exclude: string[],
  settings: object = {},
) {
  return {
    extends: true as const,
    test: {
      name,
      include: ['test/**/*.test.ts'],
      exclude: [BROWSER, ...exclude],
      env: { ALPHAMARGIN_DEVICE: device },
      ...settings,
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
      suite('cpu', 'cpu', [GPU, NVCC]),
      suite(
        'cuda-emulated',
        'cuda-emulated',
        [...INDEPENDENT, GPU, NVCC],
        EMULATED,
      ),
      // One process at a time has the GPU, and a new one for each file: after a fault of a kernel
      // nothing works any more in the old.
      ...(isWanted('cuda')
        ? [
            suite('cuda', 'cuda', [...INDEPENDENT, NVCC], {
              maxWorkers: 1,
              isolate: true,
            }),
          ]
        : []),
      // Sizes for a GPU in a package that is installed: what it tests is the package.
      ...(isWanted('nvcc')
        ? [
            suite(
              'nvcc',
              'cuda',
              [...INDEPENDENT, 'test/package.test.ts'],
              EMULATED,
            ),
          ]
        : []),
      ...(isWanted('browser')
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
