import { availableParallelism } from 'node:os';
import { automaticFailure, chooseBackend } from './device.js';
import { invokeSync } from './invoke.js';
import { type NativeBackendInfo, native } from './native.js';

/** What {@link backendInfo} returns. */
export interface BackendInfo extends NativeBackendInfo {
  /** The device that `'auto'` means here: 'cpu', 'cuda:N' (in test builds 'cuda-emulated'). */
  readonly device: string;
  /** Cores this process may use. */
  readonly availableParallelism: number;
}

/**
 * What was loaded, which instruction sets and devices are used, and why CUDA is not when it is
 * not.
 *
 * @throws AlphaMarginError `ERR_NO_BINARY` when the addon cannot be loaded; `ERR_DEVICE` when
 * `ALPHAMARGIN_DEVICE` names a device that cannot be used.
 * @example
 * console.log(backendInfo().instructionSet); // 'avx2'
 */
export function backendInfo(): BackendInfo {
  const device = chooseBackend('backendInfo', 'auto').name;
  const info = invokeSync('backendInfo', backendInfo, () =>
    native().backendInfo(),
  );
  const reason = info.cuda.reason || automaticFailure();
  return {
    ...info,
    cuda: { ...info.cuda, reason },
    device,
    availableParallelism: availableParallelism(),
  };
}
