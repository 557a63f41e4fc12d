import { AlphaMarginError, invalidArgument } from '../errors.js';
import { damagedFile } from './file-errors.js';

/** Bytes before the header's text, in version 1. */
export const SHORT_PREFIX = 10;

/** The same in versions 2 and 3. */
export const LONG_PREFIX = 12;

/** Element types that can be read, by NumPy's description; all little-endian. */
export const NPY_TYPES = {
  '<f4': { name: 'float32', bytes: 4 },
  '<f2': { name: 'float16', bytes: 2 },
  '<f8': { name: 'float64', bytes: 8 },
  '<i4': { name: 'int32', bytes: 4 },
  '<i8': { name: 'int64', bytes: 8 },
  '|u1': { name: 'uint8', bytes: 1 },
  '|b1': { name: 'bool', bytes: 1 },
} as const;

/** NumPy's description of an element type that can be read. */
export type NpyDescription = keyof typeof NPY_TYPES;

/** What the header of an npy file says. */
export interface NpyHeader {
  readonly description: NpyDescription;
  readonly dims: readonly number[];
  /** Product of the sizes. */
  readonly elements: number;
}

/** One token of the Python dictionary literal in the header. */
const TOKEN = /\s*(?:'([^']*)'|"([^"]*)"|(True|False)|(\d+)L?|([{}(),:]))\s*/y;

type Token = { text: string; kind: 'string' | 'bool' | 'number' | 'mark' };

function tokenize(path: string, text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) {
      throw damagedFile(path, `unexpected text at byte ${at} of the header`);
    }
    const [, single, double, bool, digits, mark] = match;
    const quoted = single ?? double;
    if (quoted !== undefined) tokens.push({ text: quoted, kind: 'string' });
    else if (bool !== undefined) tokens.push({ text: bool, kind: 'bool' });
    else if (digits !== undefined)
      tokens.push({ text: digits, kind: 'number' });
    else tokens.push({ text: mark!, kind: 'mark' });
  }
  return tokens;
}

/** Reads `{'key': value, …}`, where a value is a string, a boolean or a tuple of whole numbers. */
function parseDictionary(path: string, text: string) {
  const tokens = tokenize(path, text);
  let next = 0;
  const take = (kind: Token['kind'], mark?: string): string => {
    const token = tokens[next];
    if (token?.kind !== kind || (mark !== undefined && token.text !== mark)) {
      const found = token === undefined ? 'its end' : `'${token.text}'`;
      throw damagedFile(
        path,
        `the header is not a dictionary of sizes and types: found ${found}`,
      );
    }
    next += 1;
    return token.text;
  };
  const isMark = (mark: string) =>
    tokens[next]?.kind === 'mark' && tokens[next]?.text === mark;
  const entries = new Map<string, string | boolean | number[]>();
  take('mark', '{');
  while (!isMark('}')) {
    const key = take('string');
    take('mark', ':');
    const kind = tokens[next]?.kind;
    if (kind === 'string') entries.set(key, take('string'));
    else if (kind === 'bool') entries.set(key, take('bool') === 'True');
    else {
      const sizes: number[] = [];
      take('mark', '(');
      while (!isMark(')')) {
        sizes.push(Number(take('number')));
        if (!isMark(')')) take('mark', ',');
      }
      take('mark', ')');
      entries.set(key, sizes);
    }
    if (!isMark('}')) take('mark', ',');
  }
  take('mark', '}');
  if (next < tokens.length) throw damagedFile(path, 'text follows the header');
  return entries;
}

/** How NumPy turns an array into one that can be read; empty where it cannot be told. */
function remedyFor(description: string): string {
  const kind = /^[<>=|]?([fiub])\d*$/.exec(description)?.[1];
  if (kind === undefined) return '';
  const remedy =
    kind === 'f'
      ? "embeddings .astype('float32'), labels .astype('int64')"
      : ".astype('int64')";
  return `; save it again from NumPy: ${remedy}`;
}

/** Reads and checks the header's text. */
export function decodeNpyHeader(path: string, text: string): NpyHeader {
  const entries = parseDictionary(path, text);
  const [descr, fortran, dims] = ['descr', 'fortran_order', 'shape'].map(
    (key) => entries.get(key),
  );
  if (
    entries.size !== 3 ||
    typeof descr !== 'string' ||
    typeof fortran !== 'boolean' ||
    !Array.isArray(dims)
  ) {
    throw damagedFile(path, 'the header lacks descr, fortran_order or shape');
  }
  if (!Object.hasOwn(NPY_TYPES, descr)) {
    const names = Object.entries(NPY_TYPES).map(
      ([key, { name }]) => `${name} (${key})`,
    );
    const { code, message } = invalidArgument(
      'readNpy',
      `the dtype of ${path}`,
      `one of ${names.join(', ')}`,
      descr,
    );
    throw new AlphaMarginError(code, message + remedyFor(descr));
  }
  // A single row or column is stored the same either way.
  if (fortran && dims.filter((size) => size !== 1).length > 1) {
    throw invalidArgument(
      'readNpy',
      path,
      'in C order (NumPy: numpy.ascontiguousarray)',
      'Fortran order',
    );
  }
  const elements = dims.reduce((product, size) => product * size, 1);
  if (!dims.every(Number.isSafeInteger) || !Number.isSafeInteger(elements)) {
    throw damagedFile(path, `impossible sizes (${dims.join(', ')})`);
  }
  return { description: descr as NpyDescription, dims, elements };
}

/** The bytes of a version 1 header; data starts at a multiple of 64, as NumPy writes it. */
export function encodeNpyHeader(
  description: NpyDescription,
  dims: readonly number[],
): Uint8Array {
  const tuple = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const text = `{'descr': '${description}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const length = Math.ceil((SHORT_PREFIX + text.length + 1) / 64) * 64;
  const header = Buffer.alloc(length, 0x20);
  header.write('\x93NUMPY\x01\x00', 'latin1');
  header.writeUInt16LE(length - SHORT_PREFIX, 8);
  header.write(text, SHORT_PREFIX, 'latin1');
  header[length - 1] = 0x0a;
  return header;
}
