/** Every binary16 value as float32, made on first use (256 KiB). */
let table: Float32Array | undefined;

/** The value of IEEE 754 binary16 bits. */
function decode(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent < 31) return sign * (1024 + fraction) * 2 ** (exponent - 25);
  return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
}

/**
 * All 65,536 binary16 values as float32, indexed by their bits: every binary16 is exactly
 * representable, so a look-up is the conversion.
 */
export function float16Values(): Float32Array {
  table ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => decode(bits));
  return table;
}
