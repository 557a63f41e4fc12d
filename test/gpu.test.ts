import { expect, it } from 'vitest';
import { backendInfo, DeviceTensor, entmax, tensor } from '../lib/index.js';

/* Runs in the project `cuda` only: asked for, a GPU that is not there is a failure. */

it('has a usable GPU, on which the suite runs', async () => {
  const info = backendInfo();
  expect(info.cuda.reason).toBe('');
  expect(info.device).toMatch(/^cuda:\d+$/);
  const logits = tensor(new Float32Array([2, 1, -1]), [1, 3]);
  using placed = await DeviceTensor.upload(logits);
  using posterior = await entmax(placed, { alpha: 2 });
  expect([...(await posterior.getData())]).toEqual([1, 0, 0]);
});
