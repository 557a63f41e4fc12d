import { parseArgs } from 'node:util';
import { type BackendInfo, backendInfo } from '../backend-info.js';
import { planReport } from './plan-report.js';
import { readSubCentres } from './sub-centres-option.js';
import { OptionReader, UsageError } from './usage.js';

/** Text of `alphamargin info --help`. */
export const help = `Usage: alphamargin info [--plan C,D [--batch B] [--sub-centres K]]

Says which backend was loaded, for which processor, and why CUDA is or is not used.

  --plan C,D       what a head of C identities and width D needs, on the CPU and on a GPU, for each
                   rule of update, and how many identities fit here
  --batch B        rows of its batches (128)
  --sub-centres K  prototypes of each identity, 1 to 256 (1)`;

const OPTIONS = {
  plan: { type: 'string' },
  batch: { type: 'string' },
  'sub-centres': { type: 'string' },
} as const;

const DEFAULT_BATCH = 128;
const LARGEST_COUNT = 2 ** 31 - 1;

function readPlan(text: string) {
  const parts = text.split(',').map((part) => part.trim());
  const [identities = 0, dim = 0] = parts.map((part) =>
    /^\d+$/.test(part) ? Number(part) : 0,
  );
  const good = [identities, dim].every((n) => n >= 1 && n <= LARGEST_COUNT);
  if (parts.length !== 2 || !good) {
    throw new UsageError(
      `--plan must be C,D: identities and width, two whole numbers >= 1, not '${text}'`,
    );
  }
  return { identities, dim };
}

/** Runs `alphamargin info`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true });
  const reader = new OptionReader(values);
  const batch = reader.integer('batch', 1);
  const planned = reader.text('plan');
  const subCentres = readSubCentres(reader);
  for (const name of ['batch', 'sub-centres'] as const) {
    if (planned === undefined && values[name] !== undefined) {
      throw new UsageError(`--${name} needs --plan C,D`);
    }
  }
  const info = backendInfo();
  if (planned !== undefined) {
    const sizes = {
      ...readPlan(planned),
      batch: batch ?? DEFAULT_BATCH,
      subCentres,
    };
    if (sizes.identities * subCentres > LARGEST_COUNT) {
      throw new UsageError(
        `a head has at most ${LARGEST_COUNT} prototypes, not ${sizes.identities} times ${subCentres}`,
      );
    }
    console.log(planReport(sizes, info.cuda.devices).join('\n'));
    return 0;
  }
  const { version, compiler, instructionSet, cpuFeatures, cuda } = info;
  const lines: [string, string][] = [
    ['alphamargin', version],
    ['Node', `${process.version}, ${process.platform}-${process.arch}`],
    ['compiler', compiler],
    ['kernels', instructionSet],
    ['processor', cpuFeatures.join(' ') || 'no features of interest'],
    ['threads', `${info.threads} (cores: ${info.availableParallelism})`],
    ['device', `${info.device} (what 'auto' means here)`],
    ['CUDA', describeCuda(cuda)],
  ];
  for (const [name, value] of lines) {
    console.log(`${name.padEnd(12)} ${value}`);
  }
  return 0;
}

function describeCuda({
  devices,
  driver,
  runtime,
  reason,
}: BackendInfo['cuda']) {
  const versions = [
    runtime && `built with ${runtime}`,
    driver && `driver for ${driver}`,
  ];
  const found = devices.map(
    ({ name, memory, computeCapability, reason: why }, index) =>
      `cuda:${index} ${name}, ${(memory / 2 ** 30).toFixed(0)} GiB, compute capability ` +
      `${computeCapability}${why && ` (not used: ${why})`}`,
  );
  return [...found, reason, ...versions].filter(Boolean).join('; ');
}
