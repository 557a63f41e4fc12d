/** Most bytes read at once, unless one record is larger. */
const SPAN_BYTES = 2 ** 20;

/** Bytes between two records up to which reading them is cheaper than another call. */
const GAP_BYTES = 2 ** 15;

/** A record to read: where it lies and where it goes. */
export interface RecordPlace {
  /** Its first byte in the file. */
  readonly position: number;
  /** Row of the target. */
  readonly slot: number;
}

/**
 * Reads records of one size, wherever they lie: in the order of the file, neighbours together, so
 * that rows that lie side by side cost one call. Memory is one span.
 *
 * @param read Fills its target from a position on.
 * @param copy Takes the bytes of a record, which are written again afterwards.
 */
export async function copyRecords<Place extends RecordPlace>(
  read: (target: Uint8Array, position: number) => Promise<void>,
  recordBytes: number,
  places: Place[],
  copy: (record: Buffer, place: Place) => void,
): Promise<void> {
  places.sort((a, b) => a.position - b.position);
  const reach = places.at(-1)!.position + recordBytes - places[0]!.position;
  const span = Math.max(recordBytes, Math.min(SPAN_BYTES, reach));
  const staging = Buffer.allocUnsafe(span);
  for (let first = 0; first < places.length; ) {
    const start = places[first]!.position;
    let end = start + recordBytes;
    let last = first + 1;
    for (; last < places.length; last += 1) {
      const { position } = places[last]!;
      const next = position + recordBytes;
      if (position - end > GAP_BYTES || next - start > span) break;
      end = next;
    }
    await read(staging.subarray(0, end - start), start);
    for (const place of places.slice(first, last)) {
      const at = place.position - start;
      copy(staging.subarray(at, at + recordBytes), place);
    }
    first = last;
  }
}
