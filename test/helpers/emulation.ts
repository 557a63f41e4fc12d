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

/** Whether the emulated device interprets nvcc's PTX (scripts/test-ptx.mjs). */
export const interpreted =
  emulated && process.env.ALPHAMARGIN_EMULATED_PTX !== undefined;

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
export const orderSeeds = [0, 1, 2, 7] as const;

const allTiers = [
  'mma',
  'mma-int8',
  'mma-split',
  'simt',
  'wgmma',
  'wgmma-int8',
  'wgmma-split',
] as const;

/** Why this device or this build does not have a filter; undefined when it does. */
export function missingFilter(
  filter: (typeof allTiers)[number],
): string | undefined {
  try {
    new PrototypeHead({
      identities: 1,
      dim: 1,
      loss: entmaxHead(),
      optimizer: sgd(),
      filter,
    }).dispose();
    return undefined;
  } catch (error) {
    const { code, message } = error as AlphaMarginError;
    if (emulated || code !== 'ERR_DEVICE') throw error;
    return message;
  }
}

/** What a head's option `filter` can ask this device for: all of it where the device is emulated. */
export const filterTiers = onDevice
  ? allTiers.filter((filter) => missingFilter(filter) === undefined)
  : [];
