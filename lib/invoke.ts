import { AlphaMarginError, isErrorCode } from './errors.js';

/** Options every asynchronous call takes. */
export interface CallOptions {
  /** Aborts the call; its promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A function or class whose frames are left out of the stack shown to the caller. */
type Caller =
  | ((...parameters: never[]) => unknown)
  | (abstract new (
      ...parameters: never[]
    ) => unknown);

/** How the addon reports that there is no memory for a code, either. */
const NO_MEMORY = 'std::bad_alloc';

/** Turns an error of the addon into this package's, with the stack of the call. */
export function typedError(
  functionName: string,
  thrown: unknown,
  stack?: string,
): unknown {
  if (!(thrown instanceof Error) || thrown instanceof AlphaMarginError) {
    return thrown;
  }
  const { code } =
    thrown.message === NO_MEMORY
      ? { code: 'ERR_OUT_OF_MEMORY' }
      : (thrown as { code?: unknown });
  if (!isErrorCode(code)) return thrown;
  const error = new AlphaMarginError(
    code,
    `${functionName}: ${thrown.message}`,
  );
  if (stack !== undefined) {
    const frames = stack.slice(stack.indexOf('\n') + 1);
    error.stack = `${error.name}: ${error.message}\n${frames}`;
  }
  return error;
}

/** Whether the addon stopped because it was asked to. */
function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown
    ? thrown.code === 'ERR_ABORTED'
    : false;
}

/** Where a public function was called. The stack is made into text by who reads it. */
interface CallPlace {
  readonly stack?: string;
}

/** The place of a public function's call, before the event loop is left. */
function callPlace(caller: Caller): CallPlace {
  const place: CallPlace = {};
  Error.captureStackTrace(place, caller);
  return place;
}

/** Runs a synchronous call of the addon with this package's errors. */
export function invokeSync<Result>(
  functionName: string,
  caller: Caller,
  call: () => Result,
): Result {
  try {
    return call();
  } catch (thrown) {
    throw typedError(functionName, thrown, callPlace(caller).stack);
  }
}

/**
 * Runs an asynchronous call of the addon: typed errors that carry the JavaScript stack of the
 * call, and an AbortSignal passed on as a flag in shared memory that the worker polls.
 */
export async function invoke<Result>(
  functionName: string,
  caller: Caller,
  signal: AbortSignal | undefined,
  call: (cancel: Int32Array) => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  const cancel = new Int32Array(1);
  const abort = () => {
    cancel[0] = 1;
  };
  signal?.addEventListener('abort', abort, { once: true });
  let place: CallPlace | undefined;
  try {
    const result = call(cancel);
    // Now that the worker is on its way: this takes as long as to wake it.
    place = callPlace(caller);
    return await result;
  } catch (thrown) {
    // Whatever the reason is: it may be null, too.
    if (signal?.aborted && isAbort(thrown)) throw signal.reason;
    place ??= callPlace(caller);
    throw typedError(functionName, thrown, place.stack);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
