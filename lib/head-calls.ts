import { CallQueue } from './call-queue.js';
import { CopyRoom } from './copy-room.js';
import { AlphaMarginError } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import type { NativeBackend, NativeHead } from './native.js';
import { readOptions } from './options.js';

/** A public method whose frames are left out of an error's stack. */
export type Caller = (...parameters: never[]) => unknown;

/**
 * The order of calls on one native head: asynchronous ones queue up, synchronous ones need an
 * empty queue, none is let in after `close`.
 */
export class HeadCalls {
  readonly backend: NativeBackend;
  readonly head: NativeHead;
  /** Memory for the batches of calls. */
  readonly copies = new CopyRoom();
  readonly #queue = new CallQueue();
  #closed = false;

  constructor(backend: NativeBackend, head: NativeHead) {
    this.backend = backend;
    this.head = head;
  }

  /** Throws ERR_DISPOSED after `close`. */
  checkOpen(name: string): void {
    if (!this.#closed) return;
    throw new AlphaMarginError(
      'ERR_DISPOSED',
      `${name}: the head was disposed`,
    );
  }

  /** Runs a call after all earlier ones. */
  async enqueue<Result>(
    name: string,
    caller: Caller,
    options: CallOptions,
    call: (head: NativeHead, cancel: Int32Array) => Promise<Result> | Result,
  ): Promise<Result> {
    this.checkOpen(name);
    const { signal } = readOptions<CallOptions>(name, options, ['signal']);
    return invoke(name, caller, signal, (cancel) =>
      this.#queue.run(() => {
        // Aborted while it waited for its turn.
        signal?.throwIfAborted();
        return call(this.head, cancel);
      }),
    );
  }

  /** Runs a call at once, on this thread. */
  now<Result>(
    name: string,
    caller: Caller,
    call: (head: NativeHead) => Result,
  ): Result {
    this.checkOpen(name);
    if (this.#queue.pending > 0) {
      throw new AlphaMarginError(
        'ERR_BUSY',
        `${name}: ${this.#queue.pending} asynchronous calls on this head are pending; await them first`,
      );
    }
    return invokeSync(name, caller, () => call(this.head));
  }

  /** Cleans up after a failed sequence of calls; nothing is left to clean after `close`. */
  async abandon(cleanUp: (head: NativeHead) => void): Promise<void> {
    if (!this.#closed) await this.#queue.run(() => cleanUp(this.head));
  }

  /** Lets no further call in and frees the head when the pending ones have ended. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.copies.clear();
    if (this.#queue.pending === 0) this.head.dispose();
    else void this.#queue.run(() => this.head.dispose());
  }
}
