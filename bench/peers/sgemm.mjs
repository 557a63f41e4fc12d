import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { summarize } from '../statistics.mjs';

const program = fileURLToPath(new URL('build/sgemm', import.meta.url));

/** Whether bench/peers/install.sh has been run. */
export function hasSgemm() {
  return existsSync(program);
}

/** Time of OpenBLAS for the logits of a setting alone; undefined when it is not installed. */
export function measureSgemm(setting, { seconds, smallestSamples, threads }) {
  if (!hasSgemm()) return undefined;
  const { batch, identities, dim } = setting;
  const sizes = [batch, identities, dim, seconds, smallestSamples, threads];
  const output = execFileSync(program, sizes.map(String), { encoding: 'utf8' });
  const { config, threads: used, samples } = JSON.parse(output);
  const time = summarize(samples);
  return {
    config,
    threads: used,
    time,
    gigaflops: (2 * batch * identities * dim) / time.median / 1e9,
  };
}
