// The instructions of the filter's kernels in the PTX that nvcc makes of them, against the model of
// docs/devices.md ("What a tile costs"). PTX of one slab (64 bytes of D) of a warp's 16·m × 64 part
// of a tile, m = 1, 2, 4: all loops in it are unrolled, so every instruction is counted once.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const STEPS = 2; // of 32 bytes in a slab
const COLUMNS = 8; // tiles of 8 classes in a warp's 64
const THREADS = 256;
const CHUNKS = 4; // of 16 bytes in a slab
const CLASSES = 256;

/** What the kernel with 32·m rows in its tile must have; `slab` is a limit, the others are exact. */
function model(m) {
  const rows = 32 * m;
  const stages = m === 4 ? 3 : 4;
  const copies =
    Math.ceil((rows * CHUNKS) / THREADS) + CLASSES / (THREADS / CHUNKS);
  return {
    mma: STEPS * COLUMNS * m,
    // Four 8 × 8 matrices each: m for the rows, one for every 16 classes.
    ldmatrix: STEPS * (m + COLUMNS / 2),
    // Once ahead of the loop for each stage but one, and in the loop.
    copies: stages * copies,
    // Products, fragments, and addresses.
    slab: STEPS * COLUMNS * m + STEPS * (m + COLUMNS / 2) + 60,
    // The largest of a row's 16 cosines, for 2·m rows.
    largest: 15 * 2 * m,
  };
}

const INSTRUCTION = /^(?:@!?%p\d+ )?([a-z]\w*(?:[.:]\w+)*)\s/;

/** Opcodes of a kernel's PTX, in order. */
function opcodes(text) {
  return text
    .split('\n')
    .map((line) => INSTRUCTION.exec(line.trim())?.[1])
    .filter((opcode) => opcode !== undefined);
}

function countsOf(text) {
  const all = opcodes(text);
  const count = (start) => all.filter((op) => op.startsWith(start)).length;
  const isTensor = (op) => op.startsWith('mma.') || op.startsWith('ldmatrix.');
  return {
    mma: count('mma.sync'),
    ldmatrix: count('ldmatrix.sync'),
    copies: count('cp.async.cg'),
    slab: all.findLastIndex(isTensor) - all.findIndex(isTensor) + 1,
    largest: count('max.f32') + count('max.s32'),
    all: all.length,
  };
}

/** What a count may be: exactly the model's, but for limits. */
const RULES = {
  mma: (found, expected) => found === expected,
  ldmatrix: (found, expected) => found === expected,
  copies: (found, expected) => found === expected,
  slab: (found, expected) => found <= expected,
  // The int8 tier also takes the largest scale and residual of its classes.
  largest: (found, expected) => found >= expected && found <= expected + 16,
};

/** Counts of the filter's kernels, as [{ name, found, expected, wrong }]. */
export async function instructionCounts(nvcc, root, folder) {
  const output = path.join(folder, 'filter.ptx');
  await promisify(execFile)(nvcc, [
    '-std=c++20',
    '-O3',
    '--fmad=false',
    `-I${root}native`,
    '-arch=compute_80',
    '-ptx',
    path.join(root, 'native', 'cuda', 'head', 'filter_mma.cu'),
    '-o',
    output,
  ]);
  const entries = readFileSync(output, 'utf8').split(
    /(?=^\.entry |^\.visible \.entry )/m,
  );
  return entries.flatMap((text) => {
    const kernel =
      /filter_mma_kernelINS\w*?_\d+(Half|Int8)OperandsELj(\d)E/.exec(text);
    if (!text.includes('.entry ') || kernel === null) return [];
    const expected = model(Number(kernel[2]));
    const found = countsOf(text);
    return [
      {
        name: `${kernel[1]}, ${32 * Number(kernel[2])} rows`,
        found,
        expected,
        wrong: Object.keys(RULES).filter(
          (name) => !RULES[name](found[name], expected[name]),
        ),
      },
    ];
  });
}

/** Prints the counts; returns whether all of them are the model's. */
export function reportCounts(counts) {
  const names = Object.keys(RULES);
  console.log(
    `\n${'PTX of a slab: found (model)'.padEnd(30)}${names.map((name) => name.padStart(14)).join('')}`,
  );
  for (const { name, found, expected } of counts) {
    const cells = names.map((key) => `${found[key]} (${expected[key]})`);
    console.log(
      `${name.padEnd(30)}${cells.map((cell) => cell.padStart(14)).join('')}`,
    );
  }
  for (const { name, wrong } of counts) {
    if (wrong.length === 0) continue;
    console.error(
      `filter_mma_kernel, ${name}: ${wrong.join(', ')} not as modelled`,
    );
  }
  const SIX = 6; // two operands, three heights
  if (counts.length !== SIX)
    console.error(`found ${counts.length} kernels, not ${SIX}`);
  return (
    counts.length === SIX && counts.every(({ wrong }) => wrong.length === 0)
  );
}
