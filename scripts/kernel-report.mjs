// What ptxas says of every kernel: registers, shared memory and spills per architecture. Compiles the
// device's half of the CUDA sources with all warnings as errors, so it is also the check that it builds
// for every architecture that is shipped. Exits with 1 when a source does not compile, ptxas serialises
// products of a warpgroup or ignores setmaxnreg, or a kernel of the filter or of the tensor cores spills or
// has other instructions than scripts/instruction-counts.mjs expects.
//
//   node scripts/kernel-report.mjs [--arch=90a] [--only=filter] [--json FILE]
//   node scripts/kernel-report.mjs --arch=90a --built=build/nvcc   of the PTX in the objects that
//                                                  scripts/test-nvcc.mjs has compiled
//   node scripts/kernel-report.mjs --counts        the instructions only, in seconds
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { CUDA_ARCHITECTURES } from './cuda-architectures.mjs';
import { inParallel } from './in-parallel.mjs';
import { instructionCounts, reportCounts } from './instruction-counts.mjs';
import { builtPtx, cudaSources, findNvcc, nvccOptions } from './nvcc.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values } = parseArgs({
  options: {
    arch: { type: 'string' },
    json: { type: 'string' },
    built: { type: 'string' },
    only: { type: 'string', default: '' },
    counts: { type: 'boolean', default: false },
  },
});
const architectures = values.arch ? values.arch.split(',') : CUDA_ARCHITECTURES;

/** ptxas -v of one source for one architecture, as [{ kernel, … }]. */
function parseReport(text, architecture) {
  const kernels = [];
  let current;
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '(\S+)'/.exec(line);
    // CUB's own kernels are not ours to report.
    if (entry && !/^_ZN?11alphamargin/.test(entry[1])) current = undefined;
    else if (entry) {
      current = { kernel: entry[1], architecture, spills: 0, shared: 0 };
      kernels.push(current);
    }
    const spill = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(
      line,
    );
    if (spill && current) current.spills = Number(spill[1]) + Number(spill[2]);
    const used = /Used (\d+) registers/.exec(line);
    if (!used || !current) continue;
    current.registers = Number(used[1]);
    current.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
  }
  return kernels;
}

async function compile(nvcc, source, architecture, output) {
  let input = source;
  if (values.built !== undefined) {
    input = `${output}.ptx`;
    writeFileSync(input, builtPtx(values.built, root, source));
  }
  const { stderr, stdout } = await promisify(execFile)(
    nvcc,
    [
      ...nvccOptions(root),
      '-Xptxas=-v',
      `-gencode=arch=compute_${architecture},code=sm_${architecture}`,
      // Without the host's half, which takes three times as long and is the same for all.
      '-cubin',
      input,
      '-o',
      output,
    ],
    { maxBuffer: 2 ** 26 },
  );
  const text = `${stdout}${stderr}`;
  // Notes of ptxas, not warnings: products of a warpgroup one after the other, registers not given.
  const slowed = /.*(?:C7510|C7514|C7519|setmaxnreg ignored).*/.exec(text);
  if (slowed) throw Object.assign(new Error(), { stderr: slowed[0] });
  return parseReport(text, architecture);
}

/** Short names: the mangled ones carry the file's hash. */
function demangle(kernels) {
  const text = execFileSync('c++filt', [], {
    input: kernels.map(({ kernel }) => kernel).join('\n'),
    encoding: 'utf8',
  }).split('\n');
  kernels.forEach((entry, i) => {
    const plain = text[i].replace(
      /\(anonymous namespace\)::|alphamargin::cuda::/g,
      '',
    );
    entry.kernel = /(\w+(?:<[^(]*>)?)\(/.exec(plain)?.[1] ?? text[i];
  });
}

const nvcc = findNvcc('kernel-report');
const folder = mkdtempSync(path.join(tmpdir(), 'kernel-report-'));
if (values.counts) {
  const counts = await instructionCounts(nvcc, root, folder);
  rmSync(folder, { recursive: true });
  process.exit(reportCounts(counts) ? 0 : 1);
}
if (values.built !== undefined && architectures.length !== 1) {
  console.error('kernel-report: --built needs one --arch');
  process.exit(2);
}
const jobs = cudaSources(root)
  .filter((source) => path.basename(source).includes(values.only))
  .flatMap((source) =>
    architectures.map((architecture) => ({ source, architecture })),
  );
let failed = false;
const found = await inParallel(jobs, async ({ source, architecture }) => {
  const name = `${path.basename(source)}-${architecture}.cubin`;
  const output = path.join(folder, name);
  try {
    return await compile(nvcc, source, architecture, output);
  } catch (error) {
    failed = true;
    console.error(`${source}, sm_${architecture}:\n${error.stderr}`);
    return [];
  } finally {
    rmSync(output, { force: true });
  }
});
const kernels = found.flat();
const counts = await instructionCounts(nvcc, root, folder);
rmSync(folder, { recursive: true });
demangle(kernels);

const names = [...new Set(kernels.map(({ kernel }) => kernel))].sort();
console.log(
  `${'registers / shared bytes / spill bytes'.padEnd(40)}${architectures
    .map((architecture) => `sm_${architecture}`.padStart(16))
    .join('')}`,
);
for (const name of names) {
  const cells = architectures.map((architecture) => {
    const found = kernels.find(
      (entry) => entry.kernel === name && entry.architecture === architecture,
    );
    return found
      ? `${found.registers}/${found.shared}/${found.spills}`
      : 'missing';
  });
  console.log(
    `${name.padEnd(40)}${cells.map((cell) => cell.padStart(16)).join('')}`,
  );
}
if (values.json) {
  writeFileSync(values.json, `${JSON.stringify(kernels, null, 1)}\n`);
}
const spilling = kernels.filter(
  ({ kernel, spills }) => /filter|pair_product/.test(kernel) && spills > 0,
);
for (const { kernel, architecture } of spilling) {
  console.error(`${kernel} spills registers on sm_${architecture}`);
}
// At the end: what is wrong stands below the tables.
const counted = reportCounts(counts);
process.exitCode = failed || spilling.length > 0 || !counted ? 1 : 0;
