import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(
  new URL('workers/agreement.mjs', import.meta.url),
);
const THREADS = [1, 2, 4];
// An instruction set brings its own filter, and its own bytes of the embeddings.
const INSTRUCTION_SETS = {
  arm64: ['portable', 'neon', 'neon-dotprod', 'neon-i8mm'],
  x64: ['portable', 'avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'amx'],
}[process.arch];

function run(setting, threads, instructionSet) {
  const argument = JSON.stringify({ setting, steps: 3, threads });
  const env = { ...process.env };
  if (instructionSet !== undefined) {
    env.ALPHAMARGIN_INSTRUCTION_SET = instructionSet;
  }
  const output = execFileSync(
    process.execPath,
    ['--expose-gc', program, argument],
    { encoding: 'utf8', env, maxBuffer: 2 ** 28 },
  );
  const { losses, gradient, ...rest } = JSON.parse(output);
  return { ...rest, losses: floats(losses), gradient: floats(gradient) };
}

function floats(base64) {
  return new Float32Array(
    Uint8Array.from(Buffer.from(base64, 'base64')).buffer,
  );
}

/** ‖a − b‖ / ‖b‖. */
function relativeDifference(a, b) {
  let difference = 0;
  let size = 0;
  for (const [index, value] of b.entries()) {
    difference += (a[index] - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Largest |a − b| / (1 + b): the measure of the numerical contract for losses. */
function lossDifference(a, b) {
  return a.reduce(
    (worst, loss, row) =>
      Math.max(worst, Math.abs(loss - b[row]) / (1 + b[row])),
    0,
  );
}

/**
 * Whether steps of a head give the same bits for any number of threads, and how far the instruction
 * sets of this processor differ from the portable kernels.
 */
export function measureAgreement(setting) {
  const runs = THREADS.map((threads) => run(setting, threads));
  const sets = INSTRUCTION_SETS.map((name) => run(setting, 2, name));
  const [portable, ...others] = sets.filter(
    // What the processor does not have falls back to the next.
    ({ instructionSet }, index) => instructionSet === INSTRUCTION_SETS[index],
  );
  const agreement = {
    threads: THREADS,
    sameBits: runs.every(({ digest }) => digest === runs[0].digest),
    instructionSets: others.map(({ instructionSet, losses, gradient }) => ({
      instructionSet,
      lossDifference: lossDifference(losses, portable.losses),
      gradientDifference: relativeDifference(gradient, portable.gradient),
    })),
  };
  return { agreement };
}
