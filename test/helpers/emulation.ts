import { backendInfo } from '../../lib/index.js';
import { type EmulationSettings, native } from '../../lib/native.js';

/** Whether the suite runs on the emulated device. */
export const emulated = backendInfo().device === 'cuda-emulated';

/** Whether it runs on a GPU, emulated or not. */
export const onDevice = backendInfo().device !== 'cpu';

/** Runs `body` with settings of the emulated device, and puts the old ones back. */
export function withEmulation<Result>(
  settings: Partial<EmulationSettings>,
  body: () => Result,
): Result {
  const before = native().configureEmulation!(settings);
  try {
    return body();
  } finally {
    native().configureEmulation!(before);
  }
}

/** Seeds of the order of blocks, warps and lanes; 0 is the natural order. */
export const orderSeeds = [0, 1, 2, 3, 7] as const;

/** What a head's option `filter` can ask a GPU for. */
export const filterTiers = ['mma', 'mma-int8', 'simt', 'wgmma'] as const;
