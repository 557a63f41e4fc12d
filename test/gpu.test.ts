import { expect, it } from 'vitest';
import { backendInfo, DeviceTensor, entmax, tensor } from '../lib/index.js';
import { missingFilter } from './helpers/emulation.js';

/* Runs in the project `cuda` only: asked for, a GPU that is not there is a failure. */

// It is compared with the other tiers elsewhere; here it is there at all.
it('filters with the instructions of Hopper where the GPU has them', () => {
  const index = Number(backendInfo().device.slice('cuda:'.length));
  const { computeCapability } = backendInfo().cuda.devices[index]!;
  const missing = missingFilter('wgmma');
  if (computeCapability !== '9.0') {
    expect(missing).toContain('need compute capability 9.0');
  } else {
    // "they need the architecture 90a": built without it, the suite would pass without running any.
    expect(missing).toBeUndefined();
  }
});

it('has a usable GPU, on which the suite runs', async () => {
  const info = backendInfo();
  expect(info.cuda.reason).toBe('');
  expect(info.device).toMatch(/^cuda:\d+$/);
  const logits = tensor(new Float32Array([2, 1, -1]), [1, 3]);
  using placed = await DeviceTensor.upload(logits);
  using posterior = await entmax(placed, { alpha: 2 });
  expect([...(await posterior.getData())]).toEqual([1, 0, 0]);
});
