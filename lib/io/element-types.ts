import { float16Values } from './float16.js';

/** Element types a file may hold embeddings in. */
export type FloatType = 'float32' | 'float16' | 'bfloat16' | 'float64';

const BYTES = { float32: 4, float16: 2, bfloat16: 2, float64: 8 } as const;

/** Bytes per element. */
export function elementBytes(type: FloatType): number {
  return BYTES[type];
}

/**
 * Fills `target` with the numbers whose little-endian bytes are given, rounded to float32 where
 * the type is wider. The bytes need no alignment: records in a file have none.
 *
 * @param bytes `target.length` elements.
 */
export function copyElements(
  type: FloatType,
  bytes: Uint8Array,
  target: Float32Array,
): void {
  if (type === 'float32') {
    const { buffer, byteOffset, byteLength } = target;
    new Uint8Array(buffer, byteOffset, byteLength).set(bytes);
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type === 'float64') {
    for (let index = 0; index < target.length; index += 1) {
      target[index] = view.getFloat64(8 * index, true);
    }
  } else if (type === 'float16') {
    const values = float16Values();
    for (let index = 0; index < target.length; index += 1) {
      target[index] = values[view.getUint16(2 * index, true)]!;
    }
  } else {
    const bits = new Uint32Array(
      target.buffer,
      target.byteOffset,
      target.length,
    );
    for (let index = 0; index < target.length; index += 1) {
      bits[index] = view.getUint16(2 * index, true) << 16;
    }
  }
}
