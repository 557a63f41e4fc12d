import { AlphaMarginError, invalidArgument } from './errors.js';
import { native } from './native.js';

/** Where a call computes: `'auto'` is CUDA when usable, else the CPU. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/**
 * Checks a `device` option against what is usable here.
 *
 * @throws AlphaMarginError `ERR_DEVICE` for a CUDA device that cannot be used, with the reason.
 */
export function checkDevice(functionName: string, device: unknown): 'cpu' {
  if (device === undefined || device === 'auto' || device === 'cpu') {
    return 'cpu';
  }
  if (typeof device === 'string' && /^cuda(:\d+)?$/.test(device)) {
    throw new AlphaMarginError(
      'ERR_DEVICE',
      `${functionName}: device '${device}' cannot be used: ${native().backendInfo().cuda.reason}`,
    );
  }
  throw invalidArgument(
    functionName,
    'device',
    "'auto', 'cpu', 'cuda' or 'cuda:N'",
    device,
  );
}
