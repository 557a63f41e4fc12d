/** A binary Kaldi vector or matrix, with its `\0B`. */
export function kaldiObject(
  kind: 'FV' | 'DV' | 'FM' | 'DM',
  rows: readonly (readonly number[])[],
): Buffer {
  const size = (value: number) => {
    const bytes = Buffer.from([4, 0, 0, 0, 0]);
    bytes.writeInt32LE(value, 1);
    return bytes;
  };
  const matrix = kind.endsWith('M');
  const Numbers = kind.startsWith('F') ? Float32Array : Float64Array;
  const data = Numbers.from(rows.flat());
  return Buffer.concat([
    Buffer.from(`\0B${kind} `, 'latin1'),
    ...(matrix ? [size(rows.length)] : []),
    size(rows[0]!.length),
    Buffer.from(data.buffer),
  ]);
}

/** An archive of float32 vectors, and the offset of each. */
export function kaldiArchive(
  entries: readonly (readonly [name: string, vector: readonly number[]])[],
  kind: 'FV' | 'DV' = 'FV',
) {
  const pieces: Buffer[] = [];
  const offsets: number[] = [];
  let length = 0;
  for (const [name, vector] of entries) {
    const start = Buffer.from(`${name} `);
    const object = kaldiObject(kind, [vector]);
    offsets.push(length + start.length);
    pieces.push(start, object);
    length += start.length + object.length;
  }
  return { bytes: Buffer.concat(pieces), offsets };
}
