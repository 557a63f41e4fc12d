import { parseArgs } from 'node:util';
import { type BackendInfo, backendInfo } from '../backend-info.js';

/** Text of `alphamargin info --help`. */
export const help = `Usage: alphamargin info

Says which backend was loaded, for which processor, and why CUDA is or is not used.`;

/** Runs `alphamargin info`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  parseArgs({ args, options: {}, strict: true });
  const info = backendInfo();
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
