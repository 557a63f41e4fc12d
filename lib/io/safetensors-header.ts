/** Bytes per element of the types of the safetensors format. */
const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Element type of a tensor in a safetensors file. */
export type SafetensorsType = keyof typeof ELEMENT_BYTES;

/** Bytes before the header's text: its length, 64-bit little-endian. */
export const LENGTH_BYTES = 8;

/** Largest header the format's own implementation accepts. */
export const LARGEST_HEADER = 100_000_000;

/** One tensor of a safetensors file. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Position of its first byte, from the start of the data section. */
  readonly begin: number;
  /** Size in bytes. */
  readonly byteLength: number;
}

/** What the header of a safetensors file says. */
export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** By name. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

/** Bytes per element. */
export function elementBytes(dtype: SafetensorsType): number {
  return ELEMENT_BYTES[dtype];
}

/** Typed arrays whose elements are those of a type. Float16Array is in Node 24 and newer. */
const ARRAY_KINDS: Readonly<Record<SafetensorsType, readonly string[]>> = {
  BOOL: ['Uint8Array'],
  U8: ['Uint8Array', 'Uint8ClampedArray'],
  I8: ['Int8Array'],
  F8_E5M2: ['Uint8Array'],
  F8_E4M3: ['Uint8Array'],
  I16: ['Int16Array'],
  U16: ['Uint16Array'],
  F16: ['Uint16Array', 'Float16Array'],
  BF16: ['Uint16Array'],
  I32: ['Int32Array'],
  U32: ['Uint32Array'],
  F32: ['Float32Array'],
  F64: ['Float64Array'],
  I64: ['BigInt64Array'],
  U64: ['BigUint64Array'],
};

/** Names of the typed arrays that hold the elements of a type, the usual one first. */
export function arrayKindsOf(dtype: SafetensorsType): readonly string[] {
  return ARRAY_KINDS[dtype];
}

/** Whether a value names an element type. */
export function isSafetensorsType(value: unknown): value is SafetensorsType {
  return typeof value === 'string' && Object.hasOwn(ELEMENT_BYTES, value);
}

/** Bytes of a dense tensor, or undefined when the sizes are not countable. */
export function tensorBytes(
  dtype: SafetensorsType,
  shape: unknown,
): number | undefined {
  if (!Array.isArray(shape)) return undefined;
  // Zero sizes are multiplied last, so that they cannot hide an overflow.
  let bytes = elementBytes(dtype);
  let empty = false;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return undefined;
    if (size === 0) empty = true;
    else bytes *= size;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return empty ? 0 : bytes;
}

/** The bytes of length and header, padded with spaces so that data starts 8-aligned. */
export function encodeHeader(header: SafetensorsHeader): Uint8Array {
  // A null prototype, so that no tensor name ("__proto__") is special.
  const root: Record<string, unknown> = Object.create(null);
  root.__metadata__ = { ...header.metadata };
  for (const {
    name,
    dtype,
    shape,
    begin,
    byteLength,
  } of header.tensors.values()) {
    root[name] = { dtype, shape, data_offsets: [begin, begin + byteLength] };
  }
  const text = Buffer.from(JSON.stringify(root), 'utf8');
  const padded = Math.ceil(text.length / 8) * 8;
  const bytes = Buffer.alloc(LENGTH_BYTES + padded, 0x20);
  bytes.writeBigUInt64LE(BigInt(padded), 0);
  text.copy(bytes, LENGTH_BYTES);
  return bytes;
}
