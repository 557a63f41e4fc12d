import { damagedFile } from './file-errors.js';
import {
  isSafetensorsType,
  type SafetensorsEntry,
  type SafetensorsHeader,
  tensorBytes,
} from './safetensors-header.js';

/**
 * Reads and checks a header: JSON, element types, sizes against offsets, and that the tensors
 * fill the data section without gap or overlap.
 *
 * @param path For messages.
 * @param text The header's bytes.
 * @param dataBytes Size of the data section.
 */
export function decodeHeader(
  path: string,
  text: Uint8Array,
  dataBytes: number,
): SafetensorsHeader {
  const root = parseObject(path, text);
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(root)) {
    if (name === '__metadata__') metadata = checkMetadata(path, value);
    else tensors.set(name, checkEntry(path, name, value));
  }
  checkLayout(path, [...tensors.values()], dataBytes);
  return { metadata, tensors };
}

function parseObject(path: string, text: Uint8Array): object {
  let root: unknown;
  try {
    root = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch {
    throw damagedFile(path, 'the header is not valid JSON');
  }
  if (!isObject(root)) throw damagedFile(path, 'the header is not an object');
  return root;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkMetadata(path: string, value: unknown): Record<string, string> {
  if (
    !isObject(value) ||
    !Object.values(value).every((text) => typeof text === 'string')
  ) {
    throw damagedFile(path, '__metadata__ is not an object of strings');
  }
  return value as Record<string, string>;
}

function checkEntry(
  path: string,
  name: string,
  value: unknown,
): SafetensorsEntry {
  const fail = (problem: string) =>
    damagedFile(path, `tensor '${name}': ${problem}`);
  if (!isObject(value)) throw fail('its description is not an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isSafetensorsType(dtype)) {
    throw fail(`unknown dtype ${JSON.stringify(dtype)}`);
  }
  const bytes = tensorBytes(dtype, shape);
  if (bytes === undefined) {
    throw fail(`shape ${JSON.stringify(shape)} is not a list of sizes`);
  }
  if (
    !Array.isArray(offsets) ||
    offsets.length !== 2 ||
    !offsets.every((offset) => Number.isSafeInteger(offset) && offset >= 0)
  ) {
    throw fail(`data_offsets ${JSON.stringify(offsets)} are not two positions`);
  }
  const [begin, end] = offsets as [number, number];
  if (end - begin !== bytes) {
    throw fail(
      `shape ${JSON.stringify(shape)} of ${dtype} takes ${bytes} bytes, ` +
        `data_offsets [${begin}, ${end}] span ${end - begin}`,
    );
  }
  return { name, dtype, shape: shape as number[], begin, byteLength: bytes };
}

function checkLayout(
  path: string,
  entries: SafetensorsEntry[],
  dataBytes: number,
): void {
  entries.sort((a, b) => a.begin - b.begin || a.byteLength - b.byteLength);
  let position = 0;
  for (const { name, begin, byteLength } of entries) {
    if (begin !== position) {
      const kind = begin > position ? 'a gap before' : 'an overlap at';
      throw damagedFile(
        path,
        `${kind} tensor '${name}': it begins at ${begin}, expected ${position}`,
      );
    }
    position += byteLength;
  }
  if (position > dataBytes) {
    throw damagedFile(
      path,
      `truncated: the tensors take ${position} bytes, the file holds ${dataBytes}`,
    );
  }
  if (position < dataBytes) {
    throw damagedFile(
      path,
      `${dataBytes - position} bytes follow the last tensor`,
    );
  }
}
