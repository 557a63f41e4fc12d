import { invokeSync } from './invoke.js';
import { native } from './native.js';

/** Bytes held by the addon. */
export interface MemoryUsage {
  /** Host bytes: heads and the scratch of running calls. */
  readonly host: number;
  /** Device bytes. */
  readonly device: number;
}

/**
 * Host and device bytes held by the addon in this thread.
 *
 * @example
 * console.log(memory().host);
 */
export function memory(): MemoryUsage {
  return invokeSync('memory', memory, () => native().memory());
}
