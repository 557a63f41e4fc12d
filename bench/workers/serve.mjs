import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * The worker's side of bench/contest.mjs: a line of JSON when ready, one for each sample that
 * standard input asks for, one at the end.
 *
 * @param about What is measured: versions, threads.
 * @param sample Makes fresh inputs, then returns `{ seconds, …counters }` of one run.
 * @param end Returns what is known only at the end, such as memory.
 */
export async function serve(about, sample, end) {
  const say = (values) => console.log(JSON.stringify(values));
  say(about);
  for await (const _request of createInterface({ input: process.stdin })) {
    say(await sample());
  }
  say(end());
}

// The size is for caches of this machine, see bench/contenders.mjs.
const evictor = new Uint8Array(Number(process.env.EVICTOR_BYTES ?? 2 ** 27));
let walk = 0;

/** Leaves nothing of other arrays in any cache. */
export function evict() {
  walk += 1;
  evictor.fill(walk & 0xff);
}

/** Seconds that a function takes, until its promise is kept. */
export async function secondsOf(run) {
  const start = process.hrtime.bigint();
  const result = await run();
  return { seconds: Number(process.hrtime.bigint() - start) / 1e9, result };
}

/** The most memory this process ever held, but for what evicts the caches. */
export function peakBytes() {
  return statusBytes('VmHWM') - evictor.byteLength;
}

/** The memory this process holds now, on the same terms. */
export function residentBytes() {
  return statusBytes('VmRSS') - evictor.byteLength;
}

/** Bytes of a field of /proc/self/status. */
function statusBytes(field) {
  const status = readFileSync('/proc/self/status', 'utf8');
  return (
    Number(status.match(new RegExp(`^${field}:\\s*(\\d+) kB`, 'm'))[1]) * 1024
  );
}
