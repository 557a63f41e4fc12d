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
    this.#pending += 1;
    const result = this.#tail.then(task).finally(() => {
      this.#pending -= 1;
    });
    // A failed task is its caller's affair, not the next one's.
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
