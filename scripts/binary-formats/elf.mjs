// What an addon for Linux needs and shows. Asks readelf and objdump, which come with the compiler.
import { execFileSync } from 'node:child_process';

/**
 * Newest symbol versions a binary may ask for; what is not listed, it may not ask for at all. 2.34 is
 * the C library of RHEL 9, and older than those of Debian 12 and Ubuntu 22.04. GLIBCXX and CXXABI are
 * absent: the C++ library is part of the binary. musl has no versions.
 */
const FLOORS = { GLIBC: '2.34', GCC: '4.2.0' };

/** Libraries that every system with the C library has, but libgcc_s, which Node itself asks for too. */
const GLIBC_LIBRARIES =
  /^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1)|lib(dl|pthread|rt)\.so\.\d)$/;
/** Zig's name of musl, which musl takes for itself, and Alpine's. */
const MUSL = /^libc\.(so|musl-\w+\.so\.1)$/;
const MUSL_LIBRARIES = /^(libc\.(so|musl-\w+\.so\.1)|libgcc_s\.so\.1)$/;

function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** An addon for Linux. */
export function readElf(file) {
  const read = (command, ...options) =>
    execFileSync(command, [...options, file], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
      env: { ...process.env, LC_ALL: 'C' },
    });
  const symbols = read('objdump', '-T').split('\n');
  const segments = read('readelf', '-lW');
  const dynamic = read('readelf', '-dW');

  const newest = {};
  const problems = [];
  for (const line of symbols) {
    const [, family, version] = /\(?\b([A-Z]+)_(\d[\d.]*)\)? /.exec(line) ?? [];
    if (family === undefined || !line.includes('*UND*')) continue;
    if (compareVersions(version, newest[family] ?? '0') > 0) {
      newest[family] = version;
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
  const libraries = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(
    ([, name]) => name,
  );
  const isMusl = libraries.some((name) => MUSL.test(name));
  if (!segments.includes('GNU_RELRO') || !dynamic.includes('BIND_NOW')) {
    problems.push('leaves its tables of addresses writable (no full RELRO)');
  }
  const stack = /GNU_STACK(\s+0x\S+){5}\s+(\S+)/.exec(segments)?.[2];
  if (stack !== 'RW') problems.push('asks for an executable stack (no NX)');
  if (/LOAD.* RWE /.test(segments)) {
    problems.push('has memory that is writable and executable');
  }
  if (dynamic.includes('TEXTREL')) problems.push('relocates its code');
  // Zig's compiler brings a guard of its own, inside, for some targets.
  const hasGuard = symbols.some((line) => line.includes('__stack_chk_fail'));
  if (!hasGuard && !isMusl) {
    problems.push('does not guard its stack (no stack protector)');
  }
  if (/\((RPATH|RUNPATH)\)/.test(dynamic)) {
    problems.push('looks for libraries in folders of its own');
  }
  const needs = isMusl
    ? ['musl']
    : Object.entries(FLOORS).map(
        ([family, floor]) =>
          `${family} ${newest[family] ?? 'none'} (at most ${floor})`,
      );
  return {
    ...{ needs, shown, libraries, problems },
    allowedLibraries: isMusl ? MUSL_LIBRARIES : GLIBC_LIBRARIES,
  };
}
