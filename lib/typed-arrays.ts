/*
 * Arrays of a caller as they are, not as they say. A subclass, an own property or a prototype can make
 * `instanceof`, `length` and `slice` answer anything; the internal slots cannot be changed.
 */

const ARRAYS = {
  Float32Array,
  Float64Array,
  Int32Array,
  Uint32Array,
  Uint16Array,
  Uint8Array,
  BigInt64Array,
} as const;

/** Arrays that functions of this package take. */
export type ArrayKind = keyof typeof ARRAYS;

/** The array of a kind. */
export type ArrayOf<Kind extends ArrayKind> = InstanceType<
  (typeof ARRAYS)[Kind]
>;

function slot(name: string | symbol): (array: unknown) => unknown {
  const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object;
  const { get } = Object.getOwnPropertyDescriptor(prototype, name)!;
  return (array) => Reflect.apply(get!, array, []);
}

const kindOf = slot(Symbol.toStringTag);
const lengthOf = slot('length');
const bufferOf = slot('buffer');
const byteOffsetOf = slot('byteOffset');

/**
 * A plain array over the memory of a caller's array of one of the kinds; undefined for anything else.
 * An array whose memory was detached, or shrunk from under it, is empty.
 */
export function readArray<Kind extends ArrayKind>(
  value: unknown,
  ...kinds: readonly Kind[]
): ArrayOf<Kind> | undefined {
  const kind = kindOf(value) as Kind | undefined;
  if (kind === undefined || !kinds.includes(kind)) return undefined;
  const Type = ARRAYS[kind] as unknown as {
    new (length: number): ArrayOf<Kind>;
    new (
      buffer: ArrayBufferLike,
      offset: number,
      length: number,
    ): ArrayOf<Kind>;
  };
  const length = lengthOf(value) as number;
  if (length === 0) return new Type(0);
  return new Type(
    bufferOf(value) as ArrayBufferLike,
    byteOffsetOf(value) as number,
    length,
  );
}

/**
 * The name of a caller's typed array, `'Float64Array'` say; undefined for anything else, such as a
 * DataView.
 */
export function arrayKind(value: unknown): string | undefined {
  return kindOf(value) as string | undefined;
}

/** Whether a value is a Float16Array, which Node 24 and newer have. */
export function isFloat16Array(value: unknown): value is ArrayBufferView {
  return kindOf(value) === 'Float16Array';
}

/** The bytes of any view of a caller's; undefined for anything else. */
export function readBytes(value: unknown): Uint8Array | undefined {
  if (!ArrayBuffer.isView(value)) return undefined;
  try {
    const { buffer, byteOffset, byteLength } = value;
    if (byteLength === 0) return new Uint8Array(0);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch {
    return undefined; // a view that lies about its memory, or has lost it
  }
}
