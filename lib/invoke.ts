import { AlphaMarginError, type AlphaMarginErrorCode } from './errors.js';

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

/** Turns an error of the addon into this package's, with the stack of the call. */
function typedError(
  functionName: string,
  thrown: unknown,
  stack: string | undefined,
): unknown {
  if (!(thrown instanceof Error) || thrown instanceof AlphaMarginError) {
    return thrown;
  }
  const { code } = thrown as { code?: unknown };
  if (typeof code !== 'string' || !code.startsWith('ERR_')) return thrown;
  const error = new AlphaMarginError(
    code as AlphaMarginErrorCode,
    `${functionName}: ${thrown.message}`,
  );
  if (stack !== undefined) {
    const frames = stack.slice(stack.indexOf('\n') + 1);
    error.stack = `${error.name}: ${error.message}\n${frames}`;
  }
  return error;
}

/** The stack at a public function's call, before the event loop is left. */
function callStack(caller: Caller): string | undefined {
  const place: { stack?: string } = {};
  Error.captureStackTrace(place, caller);
  return place.stack;
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
    throw typedError(functionName, thrown, callStack(caller));
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
  const stack = callStack(caller);
  signal?.throwIfAborted();
  const cancel = new Int32Array(1);
  const abort = () => {
    cancel[0] = 1;
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await call(cancel);
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ERR_ABORTED') {
      throw signal?.reason ?? thrown;
    }
    throw typedError(functionName, thrown, stack);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
