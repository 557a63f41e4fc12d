import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { backendInfo } from '../dist/index.js';

function git(...args) {
  try {
    return execFileSync('git', args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}

/** What computes: the processor, or a GPU by its name. */
function nameOf(device, { cuda }) {
  if (device === undefined) return os.cpus()[0]?.model ?? 'unknown processor';
  if (device === 'cuda-emulated') return 'emulated device';
  return cuda.devices[Number(device.split(':')[1] ?? 0)].name;
}

/** Where and with what the figures were taken. */
export function environment(device) {
  const file = new URL('../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8'));
  const info = backendInfo();
  const changed = git('status', '--porcelain', '--', 'native', 'lib');
  return {
    date: new Date().toISOString(),
    device: nameOf(device, info),
    ...(device !== undefined && {
      cuda: { runtime: info.cuda.runtime, driver: info.cuda.driver },
    }),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    // Others at work on the machine show here.
    loadAverage: os.loadavg().map((load) => Number(load.toFixed(2))),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    package: version,
    commit: git('rev-parse', 'HEAD') + (changed === '' ? '' : '-dirty'),
    compiler: info.compiler,
    instructionSet: info.instructionSet,
    cpuFeatures: info.cpuFeatures,
  };
}

/** Bytes that, once written, leave nothing of other arrays in any cache: twice the largest. */
export function evictorBytes() {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  const sizes = list(folder, /^index/).map((index) =>
    parseInt(readFileSync(`${folder}/${index}/size`, 'utf8'), 10),
  );
  return 2 * Math.max(2 ** 26, ...sizes.map((kilobytes) => kilobytes * 1024));
}

/** The names in a folder, none where there is no such folder. */
function list(folder, pattern) {
  try {
    return readdirSync(folder).filter((name) => pattern.test(name));
  } catch {
    return [];
  }
}
