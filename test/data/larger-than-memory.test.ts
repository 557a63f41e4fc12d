import { execFile } from 'node:child_process';
import { open, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { writeHollowNpy } from './dataset-files.js';

const file = useTemporaryDirectory();
const script = fileURLToPath(new URL('train-from-disk.mjs', import.meta.url));

/** `ALPHAMARGIN_FULL_PASS=1` trains on every row; otherwise some steps reach all of the file. */
const full = process.env.ALPHAMARGIN_FULL_PASS === '1';
const steps = full ? 'all' : '80';

const [count, dim] = [2 ** 21, 512];

test(
  '4 GiB on disk train in less than 600 MB beyond the head',
  async () => {
    const path = file('large.npy');
    const start = await writeHollowNpy(path, count, dim);
    expect((await stat(path)).size).toBeGreaterThan(4 * 2 ** 30);
    // Marked rows at both ends, so that a wrong place in the file shows.
    const handle = await open(path, 'r+');
    const ends = [
      0,
      1,
      5000,
      2 ** 14 - 1,
      count - 2 ** 14,
      count - 777,
      count - 1,
    ];
    for (const row of ends) {
      const mark = new Uint8Array(Float32Array.of(row + 1).buffer);
      await handle.write(mark, 0, 4, start + row * dim * 4);
    }
    await handle.close();

    const { stdout } = await promisify(execFile)(process.execPath, [
      script,
      path,
      steps,
    ]);
    const result = JSON.parse(stdout);
    expect(result.count).toBe(count);
    expect(result.markedInOrder).toBe(ends.length);
    expect(Number.isFinite(result.lossSum)).toBe(true);
    for (const plan of ['shuffled', 'identitySamples', 'classBalanced']) {
      expect(result.taken[plan].reach).toBeGreaterThan(0.9);
    }
    // Node itself, its libraries and the addon are counted too.
    expect(result.peakBytes - result.headBytes).toBeLessThan(600e6);
  },
  full ? 3_600_000 : 120_000,
);
