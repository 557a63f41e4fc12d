import { AlphaMarginError, invalidArgument } from './errors.js';
import { invokeSync, typedError } from './invoke.js';
import { backendOf, type NativeBackend, native } from './native.js';

/**
 * Where a call computes: `'auto'` is CUDA when usable, else the CPU (or what the environment
 * variable `ALPHAMARGIN_DEVICE` says); `'cuda'` is the first usable GPU. `'cuda-emulated'` exists
 * in test builds only.
 */
export type Device =
  | 'auto'
  | 'cpu'
  | 'cuda'
  | `cuda:${number}`
  | 'cuda-emulated';

const DEVICE_FORM = /^(cpu|cuda|cuda:\d{1,9}|cuda-emulated)$/;
const DEVICE_NAMES = "'auto', 'cpu', 'cuda' or 'cuda:N'";
const VARIABLE = 'ALPHAMARGIN_DEVICE';

/** Why 'auto' is not the GPU that was found, when it could not be started. */
let autoFailure = '';

/** The backend of a device, or ERR_DEVICE with the reason. `asked` is what messages show. */
function usable(device: string, asked: string): NativeBackend {
  try {
    return backendOf(device);
  } catch (cause) {
    const thrown = typedError(asked, cause);
    // No addon at all, or no memory.
    if (thrown instanceof AlphaMarginError && thrown.code !== 'ERR_DEVICE') {
      throw thrown;
    }
    throw new AlphaMarginError(
      'ERR_DEVICE',
      `${asked} cannot be used: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** What 'auto' means: the environment's wish, else the first usable GPU, else the CPU. */
function automatic(functionName: string): NativeBackend {
  const wish = process.env[VARIABLE];
  if (wish !== undefined && wish !== '' && wish !== 'auto') {
    if (!DEVICE_FORM.test(wish)) {
      throw invalidArgument(functionName, VARIABLE, DEVICE_NAMES, wish);
    }
    return usable(wish, `${functionName}: ${VARIABLE} '${wish}'`);
  }
  const { cuda } = invokeSync(functionName, automatic, () =>
    native().backendInfo(),
  );
  if (!cuda.built || cuda.reason !== '' || autoFailure !== '') {
    return backendOf('cpu');
  }
  try {
    return backendOf('cuda');
  } catch (thrown) {
    autoFailure = (thrown as Error).message;
    return backendOf('cpu');
  }
}

/** Why 'auto' did not become CUDA although a device was found; '' otherwise. */
export function automaticFailure(): string {
  return autoFailure;
}

/**
 * The backend that a `device` option means.
 *
 * @throws AlphaMarginError `ERR_DEVICE` for a device that cannot be used, with the reason.
 */
export function chooseBackend(
  functionName: string,
  device: unknown,
): NativeBackend {
  if (device === undefined || device === 'auto') return automatic(functionName);
  if (typeof device !== 'string' || !DEVICE_FORM.test(device)) {
    throw invalidArgument(functionName, 'device', DEVICE_NAMES, device);
  }
  return usable(device, `${functionName}: device '${device}'`);
}

/**
 * The backend of a call whose arguments may lie on devices: theirs, when the option leaves it open.
 *
 * @throws AlphaMarginError `ERR_DEVICE` when the option or another argument names another device.
 */
export function chooseBackendFor(
  functionName: string,
  device: unknown,
  ...operands: readonly { argument: string; device: string | null }[]
): NativeBackend {
  const placed = operands.find((operand) => operand.device !== null);
  if (placed === undefined) return chooseBackend(functionName, device);
  const open = device === undefined || device === 'auto';
  const backend = open
    ? backendOf(placed.device!)
    : chooseBackend(functionName, device);
  for (const operand of operands) {
    if (operand.device !== null && operand.device !== backend.name) {
      throw new AlphaMarginError(
        'ERR_DEVICE',
        `${functionName}: expected ${operand.argument} on ${backend.name} but it is a ` +
          `DeviceTensor on ${operand.device}`,
      );
    }
  }
  return backend;
}
