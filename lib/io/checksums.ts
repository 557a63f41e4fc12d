import { crc32 } from 'node:zlib';
import { damagedFile } from './file-errors.js';
import type { SafetensorsEntry } from './safetensors-header.js';

/*
 * Checksums of a safetensors file, kept in its metadata: CRC-32, which finds every single flipped bit
 * and every burst of up to 32. They guard against damage, not against somebody who wants to deceive.
 *
 *   checksums  JSON, tensor name → CRC of its dtype and shape and then its bytes, 8 hex digits
 *   checksum   CRC of all other metadata, `checksums` among them
 */

const TENSORS = 'checksums';
const METADATA = 'checksum';
const DIGITS = 8;

/** Metadata keys that {@link withChecksums} sets. */
export const CHECKSUM_KEYS: readonly string[] = [TENSORS, METADATA];

const hex = (value: number) => value.toString(16).padStart(DIGITS, '0');

/** The sum of a tensor while its bytes come in pieces. */
export class TensorChecksum {
  #value: number;

  constructor({ dtype, shape }: Pick<SafetensorsEntry, 'dtype' | 'shape'>) {
    this.#value = crc32(`${dtype} ${shape.join(' ')}`);
  }

  add(bytes: Uint8Array): void {
    this.#value = crc32(bytes, this.#value);
  }

  get text(): string {
    return hex(this.#value);
  }
}

/** The sum of metadata, in an order of their own. */
function metadataChecksum(metadata: Readonly<Record<string, string>>): string {
  const entries = Object.entries(metadata).filter(([key]) => key !== METADATA);
  return hex(
    crc32(JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)))),
  );
}

/**
 * Metadata with checksums. Sums that are not known yet take the same room, so that a header written
 * before the tensors can be replaced when they are.
 */
export function withChecksums(
  metadata: Readonly<Record<string, string>>,
  names: readonly string[],
  sums?: ReadonlyMap<string, TensorChecksum>,
): Record<string, string> {
  const texts = names.map((name) => [name, sums?.get(name)?.text ?? hex(0)]);
  const whole = {
    ...metadata,
    [TENSORS]: JSON.stringify(Object.fromEntries(texts)),
  };
  return { ...whole, [METADATA]: metadataChecksum(whole) };
}

/** The part of an open file that checksums are about. */
export interface ChecksummedFile {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

/** The checksums of an open file, after those of its metadata hold; undefined when it has none. */
export function readChecksums(
  file: ChecksummedFile,
): ReadonlyMap<string, string> | undefined {
  const { path, metadata } = file;
  const { [TENSORS]: text, [METADATA]: expected } = metadata;
  if (text === undefined && expected === undefined) return undefined;
  if (expected !== metadataChecksum(metadata)) {
    throw damagedFile(path, 'damaged: the checksum of its metadata differs');
  }
  const sums = new Map<string, string>(
    Object.entries(JSON.parse(text ?? '{}') as Record<string, string>),
  );
  for (const name of [...sums.keys(), ...file.tensors.keys()]) {
    if (sums.has(name) && file.tensors.has(name)) continue;
    throw damagedFile(path, `damaged: its tensors and checksums differ`);
  }
  return sums;
}

/** Compares a tensor's sum with the one that was written. */
export function checkTensor(
  { path }: ChecksummedFile,
  name: string,
  expected: string | undefined,
  sum: TensorChecksum,
): void {
  if (expected === undefined || expected === sum.text) return;
  throw damagedFile(path, `damaged: the checksum of '${name}' differs`);
}
