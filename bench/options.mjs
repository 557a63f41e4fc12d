import { existsSync, statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { backendInfo } from '../dist/index.js';
import { DEFAULT_PARTS, PARTS } from './parts/index.mjs';
import { LOSS_NAMES } from './settings.mjs';

const about = Object.values(PARTS)
  .map(({ name, about: text }) => `  ${name.padEnd(12)} ${text}`)
  .join('\n');

const HELP = `Usage: npm run bench -- [part …] [options]

${about}
  all          every part

Default: ${DEFAULT_PARTS.join(', ')}. Fresh inputs for every sample, a cold cache, each program in a
process of its own, and those that are compared take turns. A complete part writes
bench/results/PART-PROCESSOR.json. Peers come from bench/peers/install.sh; without it their columns
show "–".

  --quick           small sizes, a minute or so; writes files only with --out
  --setting NAME    only this row; may be repeated
  --program NAME    only this program of each row, as the results file calls it; may be repeated
  --batch, --identities, --dim, --alpha, --scale, --margin, --loss
                    change the settings (loss: ${LOSS_NAMES.join(', ')})
  --shadow S        what our filter reads: auto or none
  --seconds S       least time measured for each program     (10; from curves on: 4; quick: 0.3)
  --samples N       fewest samples of each program           (9; quick: 3)
  --slow-samples N  samples of a program that takes seconds  (5; quick: 1)
  --device D        cuda or cuda:N: the part 'gpu', and nothing else; without a GPU it says so and
                    ends with exit code 3. cuda-emulated: with --quick, to try the benchmark itself
  --threads N       threads of both sides                    (all cores)
  --out DIR         directory of the results files
  --resume          keep the rows that the results file has of this commit`;

const text = { type: 'string' };
const SHADOWS = ['auto', 'none'];
const NUMBERS = ['batch', 'identities', 'dim', 'alpha', 'scale', 'margin'];

function fail(message) {
  console.error(message);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean', default: false },
        resume: { type: 'boolean', default: false },
        setting: { type: 'string', multiple: true },
        program: { type: 'string', multiple: true },
        ...Object.fromEntries(NUMBERS.map((name) => [name, text])),
        loss: text,
        shadow: text,
        seconds: text,
        samples: text,
        'slow-samples': text,
        threads: text,
        device: text,
        out: text,
      },
    });
  } catch (error) {
    return fail(`${error.message} (--help)`);
  }
}

const NO_GPU = 3;

/** The device of the part 'gpu'; ends the program when it cannot be used. */
function usableDevice(device, quick) {
  if (device === 'cuda-emulated') {
    if (!quick) fail('--device cuda-emulated measures nothing: add --quick');
    return device;
  }
  if (!/^cuda(:\d+)?$/.test(device)) {
    fail(`--device must be cuda, cuda:N or cuda-emulated, not '${device}'`);
  }
  const { built, devices, reason } = backendInfo().cuda;
  const own = devices[Number(device.split(':')[1] ?? 0)];
  const why = built ? reason || own?.reason : 'this build has no CUDA kernels';
  if (why || own === undefined) {
    console.error(
      `no GPU: ${why || `there is no ${device}`}. Nothing was measured.`,
    );
    process.exit(NO_GPU);
  }
  return device;
}

/** What the command line asks for; ends the program when that is help, or nonsense. */
export function readOptions() {
  const { values, positionals } = parse();
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const number = (name, fallback) => {
    if (values[name] === undefined) return fallback;
    const value = Number(values[name]);
    if (Number.isFinite(value) && value > 0) return value;
    return fail(`--${name} must be a number > 0, not '${values[name]}'`);
  };
  const device = values.device && usableDevice(values.device, values.quick);
  const usual = device === undefined ? DEFAULT_PARTS : ['gpu'];
  const chosen = positionals.length === 0 ? usual : positionals;
  const names = chosen.includes('all')
    ? Object.keys(PARTS).filter((name) => name !== 'gpu')
    : chosen;
  if (names.includes('gpu') !== (device !== undefined)) {
    fail("the part 'gpu' and --device go together, and with no other part");
  }
  const unknown = names.find((name) => !Object.hasOwn(PARTS, name));
  if (unknown !== undefined) {
    fail(`there is no part '${unknown}' (${Object.keys(PARTS).join(', ')})`);
  }
  if (values.loss !== undefined && !LOSS_NAMES.includes(values.loss)) {
    fail(`there is no loss '${values.loss}' (${LOSS_NAMES.join(', ')})`);
  }
  if (values.shadow !== undefined && !SHADOWS.includes(values.shadow)) {
    fail(`--shadow must be ${SHADOWS.join(' or ')}, not '${values.shadow}'`);
  }
  const changes = Object.fromEntries(
    [
      ...NUMBERS.map((name) => [name, number(name)]),
      ['loss', values.loss],
      ['shadow', values.shadow],
    ]
      // What is not given must not overwrite a setting.
      .filter(([, value]) => value !== undefined),
  );
  const { quick, resume, setting, out } = values;
  // Found now, not when the measurement is to be written.
  if (out !== undefined && existsSync(out) && !statSync(out).isDirectory()) {
    fail(`--out must name a folder, and '${out}' is a file`);
  }
  return {
    parts: names.map((name) => PARTS[name]),
    quick,
    resume,
    settings: setting,
    programs: values.program,
    changes,
    threads: number('threads', backendInfo().threads),
    device,
    seconds: number('seconds', quick ? 0.3 : undefined),
    smallestSamples: number('samples', quick ? 3 : 9),
    slowSamples: number('slow-samples', quick ? 1 : 5),
    out,
    // Only whole parts at their own sizes are results to keep.
    complete:
      !quick &&
      device !== 'cuda-emulated' &&
      setting === undefined &&
      values.program === undefined &&
      Object.keys(changes).length === 0,
  };
}
