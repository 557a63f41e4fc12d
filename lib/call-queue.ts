/** Starts a task at once; what it throws becomes a rejection. */
function attempt<Result>(
  task: () => Promise<Result> | Result,
): Promise<Result> {
  try {
    return Promise.resolve(task());
  } catch (thrown) {
    return Promise.reject(thrown);
  }
}

/** Runs asynchronous tasks one after another, in the order of the calls. */
export class CallQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #pending = 0;

  /** Tasks that have not ended. */
  get pending(): number {
    return this.#pending;
  }

  /** Runs `task` after all earlier ones have ended, however they ended. */
  run<Result>(task: () => Promise<Result> | Result): Promise<Result> {
    const result = this.#pending === 0 ? attempt(task) : this.#tail.then(task);
    this.#pending += 1;
    this.#tail = this.#end(result);
    return result;
  }

  /** Waits for a task first of all, so that who waits for it too finds it ended. */
  async #end(result: Promise<unknown>): Promise<void> {
    try {
      await result;
    } catch {
      // A failed task is its caller's affair, not the next one's.
    } finally {
      this.#pending -= 1;
    }
  }
}
