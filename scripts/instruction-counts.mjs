// The instructions of the tensor-core kernels in the PTX that nvcc makes of them, against the model of
// docs/devices.md ("What a tile costs"). PTX of one slab of a warp's (mma) or a warpgroup's (wgmma)
// part of a tile: what belongs to it is unrolled, so every instruction is counted
// once.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { writePtx } from './nvcc.mjs';

const STEPS = 2; // of 32 bytes in a slab
const COLUMNS = 8; // tiles of 8 classes in a warp's 64
const THREADS = 256;
const CHUNKS = 4; // of 16 bytes in a slab
const CLASSES = 256;

const exactly = (found, expected) => found === expected;
const atMost = (found, expected) => found <= expected;
// The int8 and split tiers of mma also take the largest scale and residual of their classes.
const aFewMore = (found, expected) =>
  found >= expected && found <= expected + 16;

/** A part of a 32·m × 256 tile, 16·m × 64 for a warp, m = 1, 2, 4; slabs of 64 bytes. */
const MMA = {
  source: 'head/filter_mma.cu',
  architecture: '80',
  kernels: 9, // three operands, three heights
  pattern: /filter_mma_kernelINS\w*?\d+(Half|Int8|Upper)OperandsELj(\d)E/,
  name: ([, operands, m]) => `mma ${operands}, ${32 * Number(m)} rows`,
  starts: {
    tensor: 'mma.sync',
    ldmatrix: 'ldmatrix.sync',
    copies: 'cp.async.cg',
    largest: 'max.',
  },
  rules: {
    tensor: exactly,
    ldmatrix: exactly,
    copies: exactly,
    slab: atMost,
    largest: aFewMore,
  },
  model([, , height]) {
    const m = Number(height);
    const stages = m === 4 ? 3 : 4;
    const copies =
      Math.ceil((32 * m * CHUNKS) / THREADS) + CLASSES / (THREADS / CHUNKS);
    return {
      tensor: STEPS * COLUMNS * m,
      // Four 8 × 8 matrices each: m for the rows, one for every 16 classes.
      ldmatrix: STEPS * (m + COLUMNS / 2),
      // Once ahead of the loop for each stage but one, and in the loop.
      copies: stages * copies,
      // Products, fragments, and addresses.
      slab: STEPS * COLUMNS * m + STEPS * (m + COLUMNS / 2) + 60,
      // The largest of a row's 16 cosines, for 2·m rows.
      largest: 15 * 2 * m,
    };
  },
};

/** 64 × 256 of a tile for a warpgroup; slabs of 128 bytes, operands straight from shared memory. */
const WGMMA = {
  source: 'head/filter_wgmma.cu',
  architecture: '90a',
  kernels: 12, // three operands, clusters of one or two blocks, rows resident or not
  pattern:
    /filter_wgmma_kernelINS\w*?\d+(Half|Int8|Upper)OperandsELj(\d)ELb(\d)E/,
  name: ([, operands, cluster, resident]) =>
    `wgmma ${operands}, cluster of ${cluster}, rows ${resident === '1' ? 'resident' : 'in slabs'}`,
  starts: {
    tensor: 'wgmma.mma_async',
    ldmatrix: 'ldmatrix.sync',
    copies: 'cp.async.bulk.tensor',
    largest: 'max.',
  },
  rules: {
    tensor: exactly,
    ldmatrix: exactly,
    copies: exactly,
    slab: atMost,
    largest: exactly,
  },
  model: ([, operands]) => ({
    tensor: 2 * STEPS,
    ldmatrix: 0,
    // By one thread: of the rows, and of the classes.
    copies: 2,
    // Products, and their descriptors.
    slab: 2 * STEPS + 16,
    // The largest of a row's 64 cosines, for 2 rows; of int8 and split classes the largest scale and
    // residual, four at a time in a loop and then between 32 lanes.
    largest: 63 * 2 + (operands === 'Half' ? 0 : 2 * (4 + 5)),
  }),
};

/** 64 × 32 of a tile of 128 × 128 for a warp; slabs of 32 float16, as pairs or rounded. */
const PAIRS = {
  source: 'pair_product.cu',
  architecture: '80',
  kernels: 6, // three layouts, pairs or rounded numbers
  pattern: /pair_product_kernelILb(\d)ELb(\d)ELj(\d)E/,
  name: ([, left, right, parts]) =>
    `product ${parts === '2' ? 'of pairs' : 'rounded'}, ${['across', 'along'][left]} and ${['across', 'along'][right]}`,
  starts: MMA.starts,
  rules: { ...MMA.rules, largest: exactly },
  model([, , , count]) {
    const parts = Number(count);
    const products = parts === 2 ? 3 : 1;
    const [rowTiles, columnTiles, stages] = [4, 4, parts === 2 ? 3 : 4];
    // The steps of pairs are a loop.
    const steps = parts === 2 ? 1 : STEPS;
    const tensor = steps * rowTiles * columnTiles * products;
    // A tile of 16 rows each, and two tiles of 8 columns.
    const ldmatrix = steps * parts * (rowTiles + columnTiles / 2);
    return {
      tensor,
      ldmatrix,
      // Of both operands: 8 KB a part, 16 bytes a thread at a time.
      copies: stages * 2 * parts * 2,
      // Besides, of 16 terms each the zeros that they begin with and the sums that take them up
      // (2 × 64 a step), and addresses.
      slab: tensor + ldmatrix + (parts === 2 ? 2 * 64 : 0) + 60,
      // How many slabs make a sum.
      largest: 1,
    };
  },
};

const COLUMNS_OF_REPORT = ['tensor', 'ldmatrix', 'copies', 'slab', 'largest'];
const INSTRUCTION = /^(?:@!?%p\d+ )?([a-z]\w*(?:[.:]+\w+)*)\s/;

/** Opcodes of a kernel's PTX, in order. */
function opcodes(text) {
  return text
    .split('\n')
    .map((line) => INSTRUCTION.exec(line.trim())?.[1])
    .filter((opcode) => opcode !== undefined);
}

function countsOf(text, { starts }) {
  const all = opcodes(text);
  const isTensor = (op) =>
    op.startsWith(starts.tensor) || op.startsWith(starts.ldmatrix);
  const counts = Object.fromEntries(
    Object.entries(starts).map(([name, start]) => [
      name,
      all.filter((op) => op.startsWith(start)).length,
    ]),
  );
  return {
    ...counts,
    slab: all.findLastIndex(isTensor) - all.findIndex(isTensor) + 1,
  };
}

async function countsOfFamily(nvcc, root, folder, family) {
  const output = path.join(folder, `${path.basename(family.source)}.ptx`);
  const source = path.join(root, 'native', 'cuda', family.source);
  await writePtx(nvcc, root, source, family.architecture, output);
  const entries = readFileSync(output, 'utf8').split(
    /(?=^\.entry |^\.visible \.entry )/m,
  );
  const counts = entries.flatMap((text) => {
    const kernel = family.pattern.exec(text);
    if (!text.includes('.entry ') || kernel === null) return [];
    const expected = family.model(kernel);
    const found = countsOf(text, family);
    const wrong = COLUMNS_OF_REPORT.filter(
      (name) => !family.rules[name](found[name], expected[name]),
    );
    return [{ name: family.name(kernel), found, expected, wrong }];
  });
  const complete = counts.length === family.kernels;
  return { source: family.source, counts, complete };
}

/** Counts of the kernels by source: [{ source, counts, complete }]. */
export function instructionCounts(nvcc, root, folder) {
  return Promise.all(
    [MMA, WGMMA, PAIRS].map((family) =>
      countsOfFamily(nvcc, root, folder, family),
    ),
  );
}

/** Prints the counts; returns whether all of them are the model's. */
export function reportCounts(families) {
  const WIDTH = 40;
  const cells = (values) => values.map((value) => value.padStart(12)).join('');
  console.log(
    `\n${'PTX of a slab: found (model)'.padEnd(WIDTH)}${cells(COLUMNS_OF_REPORT)}`,
  );
  let right = true;
  for (const { source, counts, complete } of families) {
    for (const { name, found, expected } of counts) {
      const numbers = COLUMNS_OF_REPORT.map(
        (key) => `${found[key]} (${expected[key]})`,
      );
      console.log(`${name.padEnd(WIDTH)}${cells(numbers)}`);
    }
    for (const { name, wrong } of counts) {
      if (wrong.length === 0) continue;
      right = false;
      console.error(`${name}: ${wrong.join(', ')} not as modelled`);
    }
    if (complete) continue;
    right = false;
    console.error(`${source}: found ${counts.length} kernels`);
  }
  return right;
}
