// Whether a built addon may be published: which C library it needs, what it shows, how it is hardened.
// Needs readelf and objdump, which come with the compiler.
//
//   node scripts/check-binary.mjs FILE …
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { CUDA_ARCHITECTURES } from './cuda-architectures.mjs';

/**
 * Newest symbol versions a binary may ask for; what is not listed, it may not ask for at all. 2.34 is
 * the C library of RHEL 9, and older than those of Debian 12 and Ubuntu 22.04. GLIBCXX and CXXABI are
 * absent: the C++ library is part of the binary.
 */
const FLOORS = { GLIBC: '2.34', GCC: '4.2.0' };

const EXPORTS = [
  'napi_register_module_v1',
  'node_api_module_get_api_version_v1',
];

/** Libraries that every system with the C library has, but libgcc_s, which Node itself asks for too. */
const LIBRARIES =
  /^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1)|lib(dl|pthread|rt)\.so\.\d)$/;

function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

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
  const read = (command, ...options) =>
    execFileSync(command, [...options, file], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
      env: { ...process.env, LC_ALL: 'C' },
    });
  const symbols = read('objdump', '-T').split('\n');
  const segments = read('readelf', '-lW');
  const dynamic = read('readelf', '-dW');

  const needs = {};
  const problems = [];
  for (const line of symbols) {
    const [, family, version] = /\(?\b([A-Z]+)_(\d[\d.]*)\)? /.exec(line) ?? [];
    if (family === undefined || !line.includes('*UND*')) continue;
    if (compareVersions(version, needs[family] ?? '0') > 0) {
      needs[family] = version;
    }
    const floor = FLOORS[family];
    if (floor === undefined || compareVersions(version, floor) > 0) {
      problems.push(`needs ${line.trim().replace(/.*\*UND\*\s+\S+\s+/, '')}`);
    }
  }
  // Local ones are names of sections.
  const shown = symbols
    .filter(
      (line) => /^[0-9a-f]{8,} [^l]/.test(line) && !line.includes('*UND*'),
    )
    .map((line) => line.trim().split(/\s+/).at(-1));
  for (const name of shown) {
    if (!EXPORTS.includes(name)) problems.push(`shows ${name}`);
  }
  for (const name of EXPORTS) {
    if (!shown.includes(name)) problems.push(`does not show ${name}`);
  }
  const libraries = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(
    ([, name]) => name,
  );
  for (const name of libraries) {
    if (!LIBRARIES.test(name)) problems.push(`needs the library ${name}`);
  }
  if (!segments.includes('GNU_RELRO') || !dynamic.includes('BIND_NOW')) {
    problems.push('leaves its tables of addresses writable (no full RELRO)');
  }
  const stack = /GNU_STACK(\s+0x\S+){5}\s+(\S+)/.exec(segments)?.[2];
  if (stack !== 'RW') problems.push('asks for an executable stack (no NX)');
  if (/LOAD.* RWE /.test(segments)) {
    problems.push('has memory that is writable and executable');
  }
  if (dynamic.includes('TEXTREL')) problems.push('relocates its code');
  if (!symbols.some((line) => line.includes('__stack_chk_fail'))) {
    problems.push('does not guard its stack (no stack protector)');
  }
  if (/\((RPATH|RUNPATH)\)/.test(dynamic)) {
    problems.push('looks for libraries in folders of its own');
  }
  const bytes = readFileSync(file);
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
  for (const [family, floor] of Object.entries(FLOORS)) {
    console.log(`  ${family} ${needs[family] ?? 'none'} (at most ${floor})`);
  }
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
