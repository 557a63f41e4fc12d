// Values of every wrong kind.

export const TYPED_ARRAYS = [
  Float32Array,
  Float64Array,
  Int32Array,
  Uint32Array,
  Int16Array,
  Uint16Array,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  BigInt64Array,
  BigUint64Array,
];

export const NUMBERS = [
  ...[0, -0, 1, -1, 2, 3, 7, 0.5, -0.5, 1.5, 1e-45, 1e-310, 1e308, -1e308],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ...[2 ** 24 + 1, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 32 + 1],
  ...[2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, -(2 ** 53), 2 ** 63, 2 ** 64],
];

export const STRINGS = [
  ...['', ' ', 'x', '0', '-1', '1e999', '\0', 'a\0b', '\ud800', '\ufeff'],
  ...['__proto__', 'constructor', '../..', 'cpu', 'cuda', 'cuda:0', 'cuda:7'],
  ...['cuda:999999999', 'auto', 'float16', 'float32', 'int32', 'NaN', '💥'],
  'x'.repeat(5000),
];

export const FLOAT_SPECIALS = [
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ...[3.4028234663852886e38, -3.4028234663852886e38, 1e-45, 1e-38, -0, 0, 1e20],
];

export const INTEGER_SPECIALS = [
  -1,
  0,
  1,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 24 + 1,
];

/** Whether nobody has changed what a typed array says of itself. */
export const isHonest = (view) => {
  const plain = TYPED_ARRAYS.some(
    (Type) => Object.getPrototypeOf(view) === Type.prototype,
  );
  return (
    plain &&
    Object.getOwnPropertySymbols(view).length === 0 &&
    !Object.hasOwn(view, 'length') &&
    !Object.hasOwn(view, 'constructor')
  );
};

export const isTypedArray = (value) =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

/** Empties a buffer, as a postMessage with a transfer list does. */
export function detach(view) {
  const { buffer } = view;
  if (buffer instanceof SharedArrayBuffer || buffer.byteLength === 0) return;
  structuredClone(buffer, { transfer: [buffer] });
}
