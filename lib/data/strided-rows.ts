import { AlphaMarginError, invalidArgument } from '../errors.js';
import {
  copyElements,
  elementBytes,
  type FloatType,
} from '../io/element-types.js';
import { readExactly } from '../io/file-reading.js';
import { NPY_TYPES } from '../io/npy-header.js';
import { openNpyForReading } from '../io/npy-opening.js';
import type { SafetensorsType } from '../io/safetensors-header.js';
import {
  openSafetensors,
  type SafetensorsFile,
} from '../io/safetensors-reader.js';
import { copyRecords } from './copy-records.js';
import type { RowSource } from './row-source.js';

/** A matrix [count, dim] in one piece of a file. */
interface Matrix {
  readonly type: FloatType;
  readonly count: number;
  readonly dim: number;
  /** Fills `target`, whole rows, from a byte of the matrix on. */
  read(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

function stridedRows(matrix: Matrix): RowSource {
  const { type, count, dim } = matrix;
  const rowBytes = dim * elementBytes(type);
  return {
    count,
    dim,
    names: undefined,
    async copyRows(rows, slots, target) {
      const places = Array.from(rows, (row, index) => ({
        position: row * rowBytes,
        slot: slots[index]!,
      }));
      await copyRecords(matrix.read, rowBytes, places, (record, { slot }) =>
        copyElements(
          type,
          record,
          target.subarray(slot * dim, (slot + 1) * dim),
        ),
      );
    },
    close: () => matrix.close(),
  };
}

/** The rows of an npy file of float32, float16 or float64 [N, D]. */
export async function npyRows(path: string): Promise<RowSource> {
  const { handle, header, dataStart } = await openNpyForReading(path);
  try {
    const { dims, description } = header;
    const type = NPY_TYPES[description].name;
    if (type !== 'float32' && type !== 'float16' && type !== 'float64') {
      throw wrongType(
        path,
        "float32, float16 or float64 (NumPy: .astype('float32'))",
        type,
      );
    }
    const [count, dim] = checkSizes(path, dims);
    return stridedRows({
      type,
      count,
      dim,
      read: (target, position) =>
        readExactly(handle, path, target, dataStart + position),
      close: () => handle.close(),
    });
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

const SAFETENSORS_TYPES: Partial<Record<SafetensorsType, FloatType>> = {
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F64: 'float64',
};

/**
 * The rows of a tensor [N, D] of a safetensors file.
 *
 * @param name Tensor; may be left out where the file has one of two sizes only.
 */
export async function safetensorsRows(
  path: string,
  name: string | undefined,
): Promise<RowSource> {
  const file = await openSafetensors(path);
  try {
    const tensor = name ?? onlyMatrix(file);
    const { dtype, shape } = file.tensor(tensor);
    const type = SAFETENSORS_TYPES[dtype];
    if (type === undefined)
      throw wrongType(path, 'F32, F16, BF16 or F64', dtype);
    const [count, dim] = checkSizes(path, shape);
    const rowBytes = dim * elementBytes(type);
    return stridedRows({
      type,
      count,
      dim,
      read: (target, position) =>
        file.readRows(tensor, position / rowBytes, target),
      close: () => file.close(),
    });
  } catch (cause) {
    await file.close();
    throw cause;
  }
}

function onlyMatrix({ path, tensors }: SafetensorsFile): string {
  const names = [...tensors.values()]
    .filter(({ shape }) => shape.length === 2)
    .map((entry) => entry.name);
  if (names.length === 1) return names[0]!;
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    `openEmbeddings: expected tensor to name one of the tensors [N, D] of ${path} ` +
      `but received undefined; it has ${names.length === 0 ? 'none' : names.slice(0, 8).join(', ')}`,
  );
}

function checkSizes(path: string, dims: readonly number[]): [number, number] {
  const [count, dim] = dims;
  if (dims.length === 2 && count! < 2 ** 31 && dim! > 0) return [count!, dim!];
  throw invalidArgument(
    'openEmbeddings',
    `the sizes of ${path}`,
    '[N, D] with N < 2^31 and D > 0',
    [...dims],
  );
}

function wrongType(path: string, expected: string, received: string) {
  return invalidArgument(
    'openEmbeddings',
    `the dtype of ${path}`,
    expected,
    received,
  );
}
