import {
  type AlphaMarginError,
  backendInfo,
  entmaxHead,
  PrototypeHead,
  sgd,
} from '../../lib/index.js';
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

const allTiers = ['mma', 'mma-int8', 'simt', 'wgmma'] as const;

/** What a head's option `filter` can ask this device for: all of it where the device is emulated. */
export const filterTiers = allTiers.filter((filter) => {
  try {
    entmaxHeadOf(filter).dispose();
    return true;
  } catch (error) {
    const { code } = error as AlphaMarginError;
    if (emulated || !['ERR_DEVICE', 'ERR_INVALID_ARGUMENT'].includes(code)) {
      throw error;
    }
    return false;
  }
});

function entmaxHeadOf(filter: (typeof allTiers)[number]) {
  return new PrototypeHead({
    identities: 1,
    dim: 1,
    loss: entmaxHead(),
    optimizer: sgd(),
    filter,
  });
}
