import { AlphaMarginError, invalidArgument } from '../errors.js';
import { readArray } from '../typed-arrays.js';

/** The rows of each identity. */
export class ClassIndex {
  /** Int32Array [C], the labels that occur, ascending; negative ones are left out. */
  readonly identities: Int32Array;
  /** Int32Array [C + 1], where the rows of each identity begin in {@link ClassIndex.rows}. */
  readonly starts: Int32Array;
  /** All rows with an identity, by identity. */
  readonly rows: Int32Array;

  /** @param given Labels, an Int32Array [N]; a row with a negative label belongs to nobody. */
  constructor(functionName: string, given: unknown) {
    const labels = readArray(given, 'Int32Array');
    if (labels === undefined) {
      throw invalidArgument(
        functionName,
        'options.labels',
        'an Int32Array, one label for each row',
        given,
      );
    }
    const known = labels.filter((label) => label >= 0).sort();
    if (known.length === 0) {
      throw new AlphaMarginError(
        'ERR_INVALID_ARGUMENT',
        `${functionName}: expected options.labels to hold a label >= 0 but received none`,
      );
    }
    // Known labels are sorted: an identity begins where the label changes.
    const starts: number[] = [];
    for (let index = 0; index < known.length; index += 1) {
      if (known[index] !== known[index - 1]) starts.push(index);
    }
    this.identities = Int32Array.from(starts, (start) => known[start]!);
    this.starts = Int32Array.from([...starts, known.length]);
    this.rows = new Int32Array(known.length);
    const next = this.starts.slice();
    for (const [row, label] of labels.entries()) {
      if (label < 0) continue;
      const identity = firstNotBelow(
        this.count,
        (position) => this.identities[position]! < label,
      );
      this.rows[next[identity]!] = row;
      next[identity]! += 1;
    }
  }

  /** Number of identities that occur. */
  get count(): number {
    return this.identities.length;
  }

  /** The rows of the identity at a position of {@link ClassIndex.identities}. */
  rowsOf(identity: number): Int32Array {
    return this.rows.subarray(this.starts[identity], this.starts[identity + 1]);
  }
}

/** The first of the positions 0 … length − 1 that is not below; the last one if all are. */
export function firstNotBelow(
  length: number,
  isBelow: (position: number) => boolean,
): number {
  let [low, high] = [0, length - 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBelow(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
