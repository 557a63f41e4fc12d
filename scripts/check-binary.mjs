// Whether a built addon may be published: which system and libraries it needs, what it shows, how it is
// hardened.
//
//   node scripts/check-binary.mjs FILE …
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { readElf } from './binary-formats/elf.mjs';
import { readMachO } from './binary-formats/mach-o.mjs';
import { readPe } from './binary-formats/pe.mjs';
import { CUDA_ARCHITECTURES } from './cuda-architectures.mjs';

const EXPORTS = [
  'napi_register_module_v1',
  'node_api_module_get_api_version_v1',
];

/** By the first bytes of a file. */
const FORMATS = [
  { start: Buffer.from([0x7f, 0x45, 0x4c, 0x46]), read: readElf },
  { start: Buffer.from([0xcf, 0xfa, 0xed, 0xfe]), read: readMachO },
  { start: Buffer.from([0x4d, 0x5a]), read: readPe },
];

/**
 * Architectures a binary has CUDA code for, as nvcc's fat binaries list them: a header of 16 bytes,
 * then entries of a kind (1 PTX, 2 machine code), the length of their own header, that of the code, and
 * at byte 28 the architecture.
 */
function cudaCode(bytes) {
  const magic = Buffer.from([0x50, 0xed, 0x55, 0xba]);
  const [ptx, machine] = [new Set(), new Set()];
  let at = bytes.indexOf(magic);
  while (at >= 0) {
    // The magic number also stands in descriptors, which no length follows.
    const isHeader = bytes.readUInt16LE(at + 6) === 16;
    const end = isHeader ? at + 16 + Number(bytes.readBigUInt64LE(at + 8)) : at;
    for (let entry = at + 16; entry < end; ) {
      const kind = bytes.readUInt16LE(entry) === 1 ? ptx : machine;
      kind.add(bytes.readUInt32LE(entry + 28));
      entry +=
        bytes.readUInt32LE(entry + 4) +
        Number(bytes.readBigUInt64LE(entry + 8));
    }
    at = bytes.indexOf(magic, Math.max(end, at + 4));
  }
  const ascending = (set) => [...set].sort((a, b) => a - b);
  return { machine: ascending(machine), ptx: ascending(ptx) };
}

/** What a binary needs and shows, and what of it is not allowed. */
export function checkBinary(file) {
  const bytes = readFileSync(file);
  const format = FORMATS.find(({ start }) => bytes.indexOf(start) === 0);
  if (format === undefined) throw new Error(`${file}: not an addon`);
  const { needs, shown, libraries, allowedLibraries, problems } =
    format.read(file);
  for (const name of shown) {
    if (!EXPORTS.includes(name)) problems.push(`shows ${name}`);
  }
  for (const name of EXPORTS) {
    if (!shown.includes(name)) problems.push(`does not show ${name}`);
  }
  for (const name of libraries) {
    if (!allowedLibraries.test(name)) {
      problems.push(`needs the library ${name}`);
    }
  }
  const cuda = cudaCode(bytes);
  const wanted = CUDA_ARCHITECTURES.map((name) => Number.parseInt(name, 10));
  const complete =
    cuda.machine.join() === wanted.join() &&
    cuda.ptx.join() === String(wanted.at(-1));
  if (cuda.machine.length + cuda.ptx.length > 0 && !complete) {
    problems.push(`lacks CUDA code: ${wanted} are published`);
  }
  return { size: bytes.length, needs, shown, libraries, cuda, problems };
}

/** Prints what a binary is; returns whether it may be published. */
export function reportBinary(file) {
  const { size, needs, shown, libraries, cuda, problems } = checkBinary(file);
  console.log(`${file}: ${(size / 1e6).toFixed(2)} MB`);
  for (const need of needs) console.log(`  ${need}`);
  console.log(`  libraries: ${libraries.join(', ')}`);
  console.log(`  shows: ${shown.join(', ')}`);
  console.log(
    cuda.machine.length > 0
      ? `  CUDA: ${cuda.machine.join(', ')}, PTX of ${cuda.ptx.join(', ')}`
      : '  no CUDA',
  );
  for (const problem of problems) console.error(`  not allowed: ${problem}`);
  return problems.length === 0;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const files = process.argv.slice(2);
  if (files.length === 0) {
    console.error('usage: node scripts/check-binary.mjs FILE …');
    process.exitCode = 2;
  } else if (!files.map(reportBinary).every(Boolean)) {
    process.exitCode = 1;
  }
}
