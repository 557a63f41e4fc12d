import type { FileHandle } from 'node:fs/promises';
import { damagedFile } from './file-errors.js';
import { type OpenFile, openForReading, readExactly } from './file-reading.js';
import {
  decodeNpyHeader,
  LONG_PREFIX,
  NPY_TYPES,
  type NpyHeader,
  SHORT_PREFIX,
} from './npy-header.js';

const MAGIC = '\x93NUMPY';

/** Far beyond any header of sizes and a type; a damaged length asks for gigabytes. */
const LARGEST_HEADER = 2 ** 20;

/** An npy file open for reading, whose size is the one its header asks for. */
export interface OpenNpy extends OpenFile {
  readonly header: NpyHeader;
  /** Position of the first element. */
  readonly dataStart: number;
}

/** Opens an npy file, and checks header and size before memory is taken for the data. */
export async function openNpyForReading(path: string): Promise<OpenNpy> {
  const { handle, size } = await openForReading(path);
  try {
    const { header, dataStart } = await readHeader(handle, path, size);
    const { bytes, name } = NPY_TYPES[header.description];
    const expected = header.elements * bytes;
    if (expected !== size - dataStart) {
      const problem = expected > size - dataStart ? 'truncated' : 'too long';
      throw damagedFile(
        path,
        `${problem}: sizes (${header.dims.join(', ')}) of ${name} take ` +
          `${expected} bytes, the file holds ${size - dataStart}`,
      );
    }
    return { handle, size, header, dataStart };
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

async function readHeader(handle: FileHandle, path: string, size: number) {
  const prefix = new Uint8Array(Math.min(size, LONG_PREFIX));
  await readExactly(handle, path, prefix, 0);
  const bytes = Buffer.from(prefix.buffer);
  const magic = bytes.toString('latin1', 0, MAGIC.length);
  if (magic !== MAGIC.slice(0, magic.length) || size === 0) {
    const isZip = magic.startsWith('PK');
    throw damagedFile(
      path,
      isZip
        ? 'not an npy file but an archive of them: save each array with numpy.save'
        : 'not an npy file',
    );
  }
  if (size < LONG_PREFIX) {
    throw damagedFile(path, `truncated: ${size} bytes hold no header`);
  }
  const version = bytes[6]!;
  if (version < 1 || version > 3) {
    throw damagedFile(path, `npy version ${version} (1 to 3 can be read)`);
  }
  const textStart = version === 1 ? SHORT_PREFIX : LONG_PREFIX;
  const length = version === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8);
  const dataStart = textStart + length;
  if (dataStart > size) {
    throw damagedFile(
      path,
      `truncated: the header takes ${length} bytes, the file holds ${size}`,
    );
  }
  if (length > LARGEST_HEADER) {
    throw damagedFile(
      path,
      `the header is too large: ${length} bytes (at most ${LARGEST_HEADER})`,
    );
  }
  const text = Buffer.alloc(length);
  await readExactly(handle, path, text, textStart);
  return { header: decodeNpyHeader(path, text.toString()), dataStart };
}
