// How the kernels of a step reach memory, counted by interpreting their PTX on the emulated device: what a
// profiler shows on a GPU, without one. For every kernel the instructions of warps, the sectors of 32 bytes
// of device memory that their accesses touch, and the passes through the banks of shared memory; each next
// to the least that as many bytes need. Counts, not times.
//
//   node scripts/access-report.mjs [--loss entmax|softmax|q-margin] [--batch 64] [--dim 128]
//     [--identities 4096] [--filter mma] [--precision exact] [--optimizer sgd|adagrad] [--lines 2]
//     [--hot 10] [--keep-ptx]
//
// --lines F also lists the lines of the source whose accesses take F times the least, or more, and are a
// percent of their kernel's; --hot N the N lines with the most instructions.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { emulatedPtx } from './emulated-ptx.mjs';

const { values } = parseArgs({
  options: {
    loss: { type: 'string', default: 'q-margin' },
    batch: { type: 'string', default: '64' },
    dim: { type: 'string', default: '128' },
    identities: { type: 'string', default: '4096' },
    filter: { type: 'string', default: 'mma' },
    precision: { type: 'string', default: 'exact' },
    optimizer: { type: 'string', default: 'sgd' },
    lines: { type: 'string' },
    hot: { type: 'string' },
    'keep-ptx': { type: 'boolean', default: false },
    'in-child': { type: 'boolean', default: false },
  },
});

/** Two steps of a head: one without bounds to begin with, and one with those of the first. */
async function run() {
  const { adagrad, cosFace, entmaxHead, PrototypeHead, qMargin, sgd, tensor } =
    await import('../dist/index.js');
  const [batch, dim, identities] = [
    values.batch,
    values.dim,
    values.identities,
  ].map(Number);
  const losses = {
    entmax: entmaxHead({ alpha: 1.25, scale: 32 }),
    softmax: cosFace({ margin: 0.35, scale: 64 }),
    'q-margin': qMargin({ alpha: 1.25, scale: 32, margin: 0.3 }),
  };
  const head = new PrototypeHead({
    identities,
    dim,
    loss: losses[values.loss],
    optimizer:
      values.optimizer === 'adagrad'
        ? adagrad({ learningRate: 0.1 })
        : sgd({ learningRate: 0.1, momentum: 0.9 }),
    filter: values.filter,
    precision: values.precision,
    seed: 1,
    device: 'cuda-emulated',
  });
  const { data } = await head.prototypes();
  const labels = Int32Array.from({ length: batch }, (_, i) =>
    Math.floor((i * identities) / batch),
  );
  const embeddings = Float32Array.from(
    { length: batch * dim },
    (_, i) =>
      data[labels[Math.floor(i / dim)] * dim + (i % dim)] +
      (0.9 * Math.sin(i * i)) / Math.sqrt(dim),
  );
  for (let step = 0; step < 2; step += 1) {
    const { stats } = await head.step(tensor(embeddings, [batch, dim]), labels);
    console.log(`step ${step + 1}:`, JSON.stringify(stats));
  }
}

/** `found` and how many times `least` it is. */
function ratio(found, least) {
  return least === 0 ? '' : `${(found / least).toFixed(2)} ×`;
}

function million(count) {
  return (count / 1e6).toFixed(3);
}

/** What is no instruction in machine code: names of registers, operands from the bank of constants. */
const FREE = /^(mov|cvta|ld\.param)/;

/** Sums by what `keyOf` says of an instruction: { key, executed, global, shared }. */
function sumsBy(instructions, keyOf) {
  const sums = new Map();
  for (const instruction of instructions) {
    const key = keyOf(instruction);
    const sum = sums.get(key) ?? {
      key,
      executed: 0,
      global: { units: 0, least: 0 },
      shared: { units: 0, least: 0 },
    };
    sum.executed += instruction.executed;
    for (const memory of ['global', 'shared']) {
      sum[memory].units += instruction[memory].units;
      sum[memory].least += instruction[memory].least;
    }
    sums.set(key, sum);
  }
  return [...sums.values()];
}

const WIDTHS = [44, 9, 12, 13, 9, 12, 9];

function printRow(cells) {
  console.log(
    cells
      .map((cell, i) =>
        i === 0 ? cell.padEnd(WIDTHS[0]) : cell.padStart(WIDTHS[i]),
      )
      .join(''),
  );
}

const cellsOf = ({ units, least }) => [million(units), ratio(units, least)];

/** A kernel's row of the table. */
function printKernel({ name, launches, instructions }) {
  const [all] = sumsBy(instructions, () => '');
  printRow([
    name.slice(0, WIDTHS[0] - 2),
    String(launches),
    million(all.executed / 32),
    ...cellsOf(all.global),
    ...cellsOf(all.shared),
  ]);
}

/** Lines of the source whose accesses take more than they need. */
function printAccesses({ instructions }) {
  const [all] = sumsBy(instructions, () => '');
  const lines = sumsBy(instructions, (one) => `${one.source} ${one.opcode}`);
  for (const memory of ['global', 'shared']) {
    const wasteful = lines.filter(
      ({ [memory]: { units, least } }) =>
        units >= Math.max(1, 0.01 * all[memory].units) &&
        units >= Number(values.lines) * least,
    );
    for (const line of wasteful.sort(
      (a, b) => b[memory].units - a[memory].units,
    )) {
      printRow([
        `    ${line.key}`.slice(0, WIDTHS[0] - 2),
        '',
        '',
        ...(memory === 'shared' ? ['', ''] : []),
        ...cellsOf(line[memory]),
      ]);
    }
  }
}

/** Lines of the source with the most instructions. */
function printHottest({ instructions }) {
  const lines = sumsBy(instructions, ({ source }) => source);
  const [{ executed }] = sumsBy(instructions, () => '');
  const hottest = lines.sort((a, b) => b.executed - a.executed);
  for (const line of hottest.slice(0, Number(values.hot))) {
    const share = `${((100 * line.executed) / executed).toFixed(1)} %`;
    printRow([`    ${line.key}`, share, million(line.executed / 32)]);
  }
}

function report(kernels) {
  printRow(
    ['kernel', 'launches', 'instr. (M)', 'sectors (M)'].concat(
      '',
      'passes (M)',
      '',
    ),
  );
  const executed = ({ instructions }) =>
    instructions.reduce((sum, one) => sum + one.executed, 0);
  for (const kernel of kernels.sort((a, b) => executed(b) - executed(a))) {
    printKernel(kernel);
    if (values.lines !== undefined) printAccesses(kernel);
    if (values.hot !== undefined) printHottest(kernel);
  }
}

if (values['in-child']) {
  await run();
} else {
  const env = await emulatedPtx('access-report', values['keep-ptx']);
  const folder = mkdtempSync(path.join(tmpdir(), 'access-report-'));
  const output = path.join(folder, 'accesses.json');
  const { status } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), '--in-child', ...process.argv.slice(2)],
    {
      env: { ...env, ALPHAMARGIN_EMULATED_ACCESSES: output },
      stdio: 'inherit',
    },
  );
  if (status !== 0) process.exit(status ?? 1);
  const kernels = JSON.parse(readFileSync(output, 'utf8'));
  for (const kernel of kernels) {
    kernel.instructions = kernel.instructions.filter(
      ({ opcode }) => !FREE.test(opcode),
    );
  }
  rmSync(folder, { recursive: true });
  const text = spawnSync('c++filt', [], {
    input: kernels.map(({ kernel }) => kernel).join('\n'),
    encoding: 'utf8',
  }).stdout.split('\n');
  kernels.forEach((kernel, i) => {
    const plain = text[i].replaceAll(
      /\(anonymous namespace\)::|alphamargin::cuda::/g,
      '',
    );
    kernel.name = /(\w+(?:<[^(]*>)?)\(/.exec(plain)?.[1] ?? text[i];
  });
  report(kernels);
}
