import { availableParallelism } from 'node:os';
import { type NativeBackendInfo, native } from './native.js';

/** What {@link backendInfo} returns. */
export interface BackendInfo extends NativeBackendInfo {
  /** The device that `'auto'` means here. */
  readonly device: 'cpu' | 'cuda';
  /** Cores this process may use. */
  readonly availableParallelism: number;
}

/**
 * What was loaded, which instruction sets and devices are used, and why CUDA is not when it is
 * not.
 *
 * @throws AlphaMarginError `ERR_NO_BINARY` when the addon cannot be loaded.
 * @example
 * console.log(backendInfo().instructionSet); // 'avx2'
 */
export function backendInfo(): BackendInfo {
  return {
    ...native().backendInfo(),
    device: 'cpu',
    availableParallelism: availableParallelism(),
  };
}
