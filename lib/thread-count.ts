import { checkWhole } from './head-options.js';
import { invokeSync } from './invoke.js';
import { native } from './native.js';

/**
 * Sets how many threads the kernels of this JavaScript thread use. Results do not depend on it,
 * only times. Default: `os.availableParallelism()`, or the environment's `ALPHAMARGIN_THREADS`,
 * which has the same range; what is no such number is an error of the first call.
 *
 * @param count Threads, 1 … 1024.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`.
 * @example
 * setThreadCount(1);
 */
export function setThreadCount(count: number): void {
  const threads = checkWhole('setThreadCount', 'count', count, 1, 1024);
  invokeSync('setThreadCount', setThreadCount, () =>
    native().setThreadCount(threads),
  );
}
