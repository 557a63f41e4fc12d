// What the parts of the reliability suite share: seeded random numbers, the lines they print, and a
// temporary directory.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

/** Options of a part; a full run takes minutes, a quick one seconds. */
export const { values: options, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    calls: { type: 'string' },
    only: { type: 'string' },
    log: { type: 'string' },
  },
  allowPositionals: true,
});

/** A number for a full run, and one for a quick one. */
export const amount = (full, quick) => (options.quick ? quick : full);

/** Numbers in [0, 1) from a seed (mulberry32 over a mixed seed). */
export function uniform(...seeds) {
  let state = 0x9e3779b9;
  for (const seed of seeds) {
    state = Math.imul(state ^ seed, 0x85ebca6b);
    state ^= state >>> 13;
    state = Math.imul(state, 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Choices drawn from a uniform source. */
export function chooser(next) {
  const below = (limit) => Math.floor(next() * limit);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick: (values) => values[below(values.length)],
    floats: (count, scale = 1) =>
      Float32Array.from({ length: count }, () => (2 * next() - 1) * scale),
    integers: (count, limit) =>
      Int32Array.from({ length: count }, () => below(limit)),
  };
}

let failed = 0;

/** One figure of a part. */
export function figure(name, value) {
  console.log(`      ${name.padEnd(58)} ${value}`);
}

/** One claim of a part: printed, and fatal for the part when it does not hold. */
export function check(holds, name, details = '') {
  console.log(`${holds ? 'ok    ' : 'FAILED'} ${name}`);
  if (holds) return;
  failed += 1;
  process.exitCode = 1;
  if (details !== '') console.log(details);
}

/** What could not be tested here; the runner repeats it at the end. */
export function skip(name, reason) {
  console.log(`SKIPPED ${name}: ${reason}`);
}

/** Whether every claim held so far. */
export const holdsSoFar = () => failed === 0;

/** A directory that is removed when the process ends. */
export function temporaryDirectory(parent = os.tmpdir()) {
  const directory = mkdtempSync(path.join(parent, 'alphamargin-reliability-'));
  process.once('exit', () =>
    rmSync(directory, { recursive: true, force: true }),
  );
  return directory;
}

/** Lets a garbage collection finish what it freed; needs --expose-gc. */
export async function collectGarbage() {
  for (let round = 0; round < 4; round += 1) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Whether two arrays hold the same bytes. */
export const sameBits = (left, right) =>
  Buffer.from(left.buffer, left.byteOffset, left.byteLength).equals(
    Buffer.from(right.buffer, right.byteOffset, right.byteLength),
  );

/** The q-quantile of numbers. */
export function quantile(values, q) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
