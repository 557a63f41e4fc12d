import { snapshot } from './tensor.js';

/** Arrays that a head's calls leave behind, and the largest of them in bytes. */
const KEPT = { arrays: 2, bytes: 2 ** 24 };

type Copy = Float32Array | Uint16Array;

/**
 * Memory for the copies of batches. A copy that no call reads any more serves the next batch of its
 * size: new pages would take longer than the copying, and the garbage collector is left alone.
 */
export class CopyRoom {
  readonly #spare: Copy[] = [];

  /** A copy of an array; see {@link snapshot}. */
  copy(data: Copy): Copy {
    const place = this.#spare.findIndex(
      (spare) =>
        spare instanceof Float32Array === data instanceof Float32Array &&
        spare.length === data.length,
    );
    if (place < 0) return snapshot(data);
    const [own] = this.#spare.splice(place, 1) as [Copy];
    own.set(data);
    return own;
  }

  /** Takes back a copy that nobody reads any more. */
  giveBack(copy: Copy): void {
    if (copy.byteLength > KEPT.bytes) return;
    this.#spare.push(copy);
    if (this.#spare.length > KEPT.arrays) this.#spare.shift();
  }

  /** Forgets all memory. */
  clear(): void {
    this.#spare.length = 0;
  }
}
