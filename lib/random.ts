/** Mixes the bits of a 32-bit word (the finalizer of MurmurHash3). */
function mix(word: number): number {
  let bits = word ^ (word >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits ^= bits >>> 13;
  bits = Math.imul(bits, 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

/**
 * Random numbers that follow from a key alone, such as `(seed, purpose, epoch, step)`.
 *
 * A training step that names its own stream draws the same numbers whether or not the run was
 * interrupted before it: there is no generator state to save. Within a stream the generator is
 * xoshiro128**, started from the hashed key.
 *
 * @example
 * new RandomStream(seed, 1, epoch).shuffle(order);
 */
export class RandomStream {
  #a = 0;
  #b = 0;
  #c = 0;
  #d = 0;

  /** @param key Whole numbers up to 2^53; streams of different keys are unrelated. */
  constructor(...key: readonly number[]) {
    const words = [0x9e3779b9, 0x7f4a7c15, 0xbf58476d, 0x94d049bb];
    for (const part of key) {
      for (const half of [part >>> 0, Math.floor(part / 2 ** 32) >>> 0]) {
        for (let index = 0; index < 4; index += 1) {
          const previous = words[(index + 3) % 4]!;
          words[index] = mix(words[index]! ^ mix(half + previous + index));
        }
      }
    }
    [this.#a, this.#b, this.#c, this.#d] = words as [
      number,
      number,
      number,
      number,
    ];
    // The all-zero state is the one xoshiro never leaves.
    if ((this.#a | this.#b | this.#c | this.#d) === 0) this.#a = 1;
  }

  /** A whole number in [0, 2^32). */
  nextUint32(): number {
    const scaled = Math.imul(this.#b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A number strictly between 0 and 1. */
  nextUniform(): number {
    return (this.nextUint32() + 0.5) / 2 ** 32;
  }

  /** A whole number in [0, limit), for limit ≤ 2^32; the bias is below limit / 2^32. */
  nextBelow(limit: number): number {
    return Math.floor(this.nextUniform() * limit);
  }

  /** Adds σ times standard normal numbers to every element (Box–Muller, in pairs). */
  addGaussian(values: Float32Array, sigma: number): void {
    for (let index = 0; index < values.length; index += 2) {
      const radius = sigma * Math.sqrt(-2 * Math.log(this.nextUniform()));
      const angle = 2 * Math.PI * this.nextUniform();
      values[index]! += radius * Math.cos(angle);
      if (index + 1 < values.length) {
        values[index + 1]! += radius * Math.sin(angle);
      }
    }
  }

  /** Brings the elements into random order (Fisher–Yates). */
  shuffle(values: Int32Array): void {
    for (let last = values.length - 1; last > 0; last -= 1) {
      const other = this.nextBelow(last + 1);
      const kept = values[last]!;
      values[last] = values[other]!;
      values[other] = kept;
    }
  }
}
