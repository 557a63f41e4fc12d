import { type OpenFile, openForReading } from '../io/file-reading.js';

/** Files kept open at once: a script file may name one for each utterance. */
const MOST_OPEN = 64;

/** Files opened when they are needed; the one unused for longest is closed first. */
export class FilePool {
  readonly #paths: readonly string[];
  /** In the order of their last use. */
  readonly #open = new Map<
    number,
    { file: Promise<OpenFile>; users: number }
  >();
  /** How many stay open without a user. */
  #keep = MOST_OPEN;

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** Path of a file. */
  path(index: number): string {
    return this.#paths[index]!;
  }

  /** Runs `work` with a file, which stays open meanwhile. */
  async use<Result>(
    index: number,
    work: (file: OpenFile) => Promise<Result>,
  ): Promise<Result> {
    const entry = this.#open.get(index) ?? {
      file: openForReading(this.path(index)),
      users: 0,
    };
    entry.users += 1;
    this.#open.delete(index);
    this.#open.set(index, entry);
    try {
      return await work(await entry.file);
    } catch (cause) {
      // A file that could not be opened is tried again by the next call.
      await entry.file.catch(() => {
        if (this.#open.get(index) === entry) this.#open.delete(index);
      });
      throw cause;
    } finally {
      entry.users -= 1;
      await this.#closeUnused();
    }
  }

  /** Closes every file; one that is in use when its last user is done. */
  async close(): Promise<void> {
    this.#keep = 0;
    await this.#closeUnused();
  }

  async #closeUnused(): Promise<void> {
    for (const [index, { file, users }] of this.#open) {
      if (this.#open.size <= this.#keep) return;
      if (users > 0) continue;
      this.#open.delete(index);
      await (await file).handle.close();
    }
  }
}
