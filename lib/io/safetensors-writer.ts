import { type AlphaMarginError, invalidArgument } from '../errors.js';
import { readBytes } from '../typed-arrays.js';
import { writeAll, writeFileAtomically } from './atomic-file.js';
import { TensorChecksum, withChecksums } from './checksums.js';
import { damagedFile } from './file-errors.js';
import { filePath } from './file-path.js';
import {
  elementBytes,
  encodeHeader,
  isSafetensorsType,
  LARGEST_HEADER,
  LENGTH_BYTES,
  type SafetensorsEntry,
  type SafetensorsType,
  tensorBytes,
} from './safetensors-header.js';

/** A tensor to write, delivered in pieces so that it need never be in memory whole. */
export interface SafetensorsSource {
  readonly name: string;
  readonly dtype: SafetensorsType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** Its bytes, row-major and little-endian, in pieces of any size. */
  readonly chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Content of a safetensors file. */
export interface SafetensorsContent {
  /** Text kept in the header. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tensors: readonly SafetensorsSource[];
}

/**
 * Writes a safetensors file: to a temporary file, flushed, then renamed, so that a failure at
 * any moment leaves the old file as it was. Memory: one chunk at a time, and a chunk may be
 * reused by its iterator once the next one is asked for.
 *
 * Tensors are laid out, and their iterators run, by falling element size (then in the given
 * order), which keeps every tensor aligned to its element.
 *
 * @param path File to write.
 * @param content Metadata and tensors.
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file cannot be written, with the reason;
 *   `ERR_INVALID_ARGUMENT` for a name used twice, an unknown dtype or impossible sizes.
 * @example
 * await writeSafetensors('head.safetensors', {
 *   tensors: [{ name: 'scale', dtype: 'F32', shape: [1],
 *     chunks: [new Uint8Array(new Float32Array([32]).buffer)] }],
 * });
 */
export async function writeSafetensors(
  path: string | URL,
  content: SafetensorsContent,
): Promise<void> {
  await write('writeSafetensors', path, content, false);
}

/**
 * {@link writeSafetensors} with checksums in the metadata, see checksums.ts.
 *
 * @param functionName What the caller called, for messages.
 */
export async function writeChecksummed(
  functionName: string,
  path: string,
  content: SafetensorsContent,
): Promise<void> {
  await write(functionName, path, content, true);
}

async function write(
  functionName: string,
  path: string | URL,
  content: SafetensorsContent,
  hasChecksums: boolean,
): Promise<void> {
  const refuse: Refuse = (argument, expected, value) =>
    invalidArgument(functionName, argument, expected, value);
  const target = filePath(functionName, path);
  const { tensors: given, metadata = {} } = content ?? {};
  const own = readMetadata(refuse, metadata);
  const sources = readSources(refuse, given).sort(
    (a, b) => (bytesPerElement(b) ?? 0) - (bytesPerElement(a) ?? 0),
  );
  const tensors = layOut(refuse, sources);
  const names = [...tensors.keys()];
  const sums = new Map(
    [...tensors].map(([name, entry]) => [name, new TensorChecksum(entry)]),
  );
  const header = encodeHeader({
    metadata: hasChecksums ? withChecksums(own, names) : own,
    tensors,
  });
  if (header.byteLength - LENGTH_BYTES > LARGEST_HEADER) {
    throw damagedFile(
      target,
      `cannot write the file: the header would take ${header.byteLength} bytes ` +
        `(at most ${LARGEST_HEADER})`,
    );
  }
  await writeFileAtomically(target, async (handle) => {
    await writeAll(handle, header);
    for (const source of sources) {
      const { byteLength } = tensors.get(source.name)!;
      let written = 0;
      for await (const chunk of source.chunks) {
        const bytes = readBytes(chunk);
        if (bytes === undefined) {
          const argument = `each chunk of '${source.name}'`;
          throw refuse(argument, 'bytes (a typed array)', chunk);
        }
        written += bytes.byteLength;
        if (written > byteLength) break;
        if (hasChecksums) sums.get(source.name)!.add(bytes);
        await writeAll(handle, bytes);
      }
      if (written !== byteLength) {
        throw damagedFile(
          target,
          `cannot write the file: tensor '${source.name}' takes ${byteLength} ` +
            `bytes, its chunks gave ${written}`,
        );
      }
    }
    if (!hasChecksums) return;
    // The sums are known now; they take the room that the first header left.
    const final = withChecksums(own, names, sums);
    await writeAll(handle, encodeHeader({ metadata: final, tensors }), 0);
  });
}

/** Makes the error about an argument of the function that was called. */
type Refuse = (
  argument: string,
  expected: string,
  value: unknown,
) => AlphaMarginError;

/** Checked copies of what a caller wants written, before the file is touched. */
function readSources(refuse: Refuse, tensors: unknown): SafetensorsSource[] {
  if (!Array.isArray(tensors)) {
    throw refuse('tensors', 'an array', tensors);
  }
  return Array.from(tensors as readonly unknown[], (source) => {
    if (typeof source !== 'object' || source === null) {
      throw refuse('each tensor', '{ name, dtype, shape, chunks }', source);
    }
    // Read once: an object that changes its answers gains nothing.
    const { name, dtype, shape, chunks } = source as SafetensorsSource;
    if (!isIterable(chunks)) {
      throw refuse('chunks', 'an iterable of bytes', chunks);
    }
    return { name, dtype, shape, chunks };
  });
}

function isIterable(value: unknown): boolean {
  const { [Symbol.iterator]: one, [Symbol.asyncIterator]: other } = Object(
    value,
  ) as Partial<Iterable<unknown> & AsyncIterable<unknown>>;
  return typeof one === 'function' || typeof other === 'function';
}

/** A checked copy of metadata. */
function readMetadata(refuse: Refuse, value: unknown): Record<string, string> {
  const copy: Record<string, unknown> = { ...(value as object) };
  if (
    typeof value !== 'object' ||
    value === null ||
    !Object.values(copy).every((text) => typeof text === 'string')
  ) {
    throw refuse('metadata', 'an object of strings', value);
  }
  return copy as Record<string, string>;
}

function bytesPerElement({ dtype }: SafetensorsSource): number | undefined {
  return isSafetensorsType(dtype) ? elementBytes(dtype) : undefined;
}

/** Gives every tensor its place in the data section. */
function layOut(
  refuse: Refuse,
  sources: readonly SafetensorsSource[],
): Map<string, SafetensorsEntry> {
  const tensors = new Map<string, SafetensorsEntry>();
  let begin = 0;
  for (const { name, dtype, shape } of sources) {
    if (typeof name !== 'string' || name === '__metadata__') {
      throw refuse('name', 'a name other than __metadata__', name);
    }
    if (tensors.has(name)) throw refuse('name', 'used once', name);
    if (!isSafetensorsType(dtype)) {
      throw refuse(`dtype of '${name}'`, 'a safetensors type', dtype);
    }
    const byteLength = tensorBytes(dtype, shape);
    if (byteLength === undefined) {
      throw refuse(`shape of '${name}'`, 'a list of sizes', shape);
    }
    tensors.set(name, { name, dtype, shape: [...shape], begin, byteLength });
    begin += byteLength;
  }
  return tensors;
}
