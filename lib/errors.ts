/**
 * What went wrong, for programs.
 *
 * | code | meaning |
 * |---|---|
 * | `ERR_INVALID_ARGUMENT` | an argument has the wrong type, shape or range |
 * | `ERR_NON_FINITE` | a row of an input holds NaN or an infinity |
 * | `ERR_LABEL_RANGE` | a label is neither in `[0, C)` nor −1 |
 * | `ERR_OUT_OF_MEMORY` | host or device memory could not be allocated |
 * | `ERR_DEVICE` | the device asked for cannot be used |
 * | `ERR_DISPOSED` | the object was disposed before the call |
 * | `ERR_BUSY` | a synchronous call met asynchronous calls still in flight |
 * | `ERR_CHECKPOINT` | a file is damaged, truncated, foreign or cannot be written |
 * | `ERR_NO_BINARY` | the native addon could not be loaded |
 */
export type AlphaMarginErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_NON_FINITE'
  | 'ERR_LABEL_RANGE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_DEVICE'
  | 'ERR_DISPOSED'
  | 'ERR_BUSY'
  | 'ERR_CHECKPOINT'
  | 'ERR_NO_BINARY';

const CODES: readonly AlphaMarginErrorCode[] = [
  'ERR_INVALID_ARGUMENT',
  'ERR_NON_FINITE',
  'ERR_LABEL_RANGE',
  'ERR_OUT_OF_MEMORY',
  'ERR_DEVICE',
  'ERR_DISPOSED',
  'ERR_BUSY',
  'ERR_CHECKPOINT',
  'ERR_NO_BINARY',
];

/** Whether a value is a code of this package; Node has codes of its own that begin alike. */
export function isErrorCode(value: unknown): value is AlphaMarginErrorCode {
  return (CODES as readonly unknown[]).includes(value);
}

/** The one error class of this package; {@link AlphaMarginError.code} tells the kinds apart. */
export class AlphaMarginError extends Error {
  /** Machine-readable kind of the error. */
  readonly code: AlphaMarginErrorCode;

  /**
   * @param code Kind of the error.
   * @param message Sentence for people: function, argument, expected, received.
   * @param options Standard error options (`cause`).
   */
  constructor(
    code: AlphaMarginErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'AlphaMarginError';
    this.code = code;
  }
}

/** Shows a value the way error messages quote it: short, with its type. */
export function describe(value: unknown): string {
  try {
    return described(value);
  } catch {
    return 'an object that cannot be read'; // its own code throws
  }
}

function described(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'undefined';
  if (typeof value === 'string') return `'${value.slice(0, 40)}'`;
  if (typeof value === 'number' || typeof value === 'boolean') {
    return String(value);
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (ArrayBuffer.isView(value)) {
    const length = (value as { length?: number }).length ?? value.byteLength;
    return `${value.constructor?.name ?? 'a view'} of length ${length}`;
  }
  if (Array.isArray(value)) {
    const { length } = value;
    if (!(length <= 8)) return `an array of length ${describe(length)}`;
    const items = Array.from({ length }, (_, index) => describe(value[index]));
    return `[${items.join(', ')}]`;
  }
  return typeof value === 'symbol' ? 'a symbol' : 'an object';
}

/**
 * Builds the error every argument check throws:
 * `qMarginLoss: expected alpha to be a number >= 1 but received 0.5`.
 */
export function invalidArgument(
  functionName: string,
  argument: string,
  expected: string,
  received: unknown,
): AlphaMarginError {
  return new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `${functionName}: expected ${argument} to be ${expected} but received ${describe(received)}`,
  );
}

/** Makes room for a result, or throws ERR_OUT_OF_MEMORY where JavaScript has none of that size. */
export function roomFor<Room>(functionName: string, make: () => Room): Room {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new AlphaMarginError(
      'ERR_OUT_OF_MEMORY',
      `${functionName}: the result does not fit in memory: ${cause.message}`,
      { cause },
    );
  }
}
