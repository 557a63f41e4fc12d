import { AlphaMarginError, invalidArgument } from './errors.js';
import {
  CHECKSUM_KEYS,
  checkTensor,
  readChecksums,
  TensorChecksum,
} from './io/checksums.js';
import {
  openSafetensors,
  type SafetensorsFile,
} from './io/safetensors-reader.js';
import {
  type SafetensorsSource,
  writeChecksummed,
} from './io/safetensors-writer.js';
import type { LossSpecification } from './loss-specification.js';
import type { NativeHead, NativeHeadState } from './native.js';
import type { OptimizerSpecification } from './optimizer.js';
import { readOptions } from './options.js';

/** Value of the metadata key `format` in a head's checkpoint. */
const FORMAT = 'alphamargin-head-1';

/** Bytes of state copied between addon and file at a time. */
const CHUNK_BYTES = 2 ** 22;

/** What a checkpoint holds beside the arrays. */
export interface CheckpointSettings {
  readonly identities: number;
  readonly dim: number;
  /** Prototypes of each identity; files from before there were any lack it. */
  readonly subCentres?: number;
  readonly seed: number;
  readonly loss: LossSpecification;
  readonly optimizer: OptimizerSpecification;
  readonly precision: 'exact' | 'fast';
  /** If it was given to the head. */
  readonly scratchBudget?: number;
}

/**
 * Tensors and metadata that a caller keeps in the same file. The head's own names are refused with
 * `ERR_INVALID_ARGUMENT`, whether this head writes them or not.
 */
export interface CheckpointExtra {
  /**
   * Tensors with names of their own, none of them `prototypes`, `momentum`, `accumulator` or
   * `reference`. Default none.
   */
  readonly tensors?: readonly SafetensorsSource[] | undefined;
  /**
   * Texts by key; no key is `format`, `settings`, `checksums` or `checksum`. Default none.
   */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** Checks a caller's own content before a good file could be replaced by an unreadable one. */
export function checkExtra(name: string, extra: unknown): CheckpointExtra {
  const { tensors = [], metadata = {} } = readOptions<CheckpointExtra>(
    name,
    extra,
    ['tensors', 'metadata'],
  );
  if (!Array.isArray(tensors)) {
    throw invalidArgument(name, 'extra.tensors', 'an array', tensors);
  }
  // Copies, read once: they are written later, when they may have changed.
  const sources = Array.from(tensors as readonly unknown[], (source, index) => {
    if (typeof source !== 'object' || source === null) {
      const expected = '{ name, dtype, shape, chunks }';
      throw invalidArgument(name, `extra.tensors[${index}]`, expected, source);
    }
    const { name: own, dtype, shape, chunks } = source as SafetensorsSource;
    checkFree(name, `extra.tensors[${index}].name`, own, OWN_TENSORS);
    return { name: own, dtype, shape, chunks };
  });
  if (
    typeof metadata !== 'object' ||
    metadata === null ||
    Array.isArray(metadata)
  ) {
    const expected = 'an object of strings';
    throw invalidArgument(name, 'extra.metadata', expected, metadata);
  }
  const texts = { ...metadata };
  for (const [key, value] of Object.entries(texts)) {
    checkFree(name, 'each key of extra.metadata', key, OWN_KEYS);
    if (typeof value === 'string') continue;
    throw invalidArgument(name, `extra.metadata.${key}`, 'a string', value);
  }
  return { tensors: sources, metadata: texts };
}

/** Refuses a name that is the head's own: one of the two contents would be lost. */
function checkFree(
  functionName: string,
  argument: string,
  value: string,
  own: readonly string[],
): void {
  if (!own.includes(value)) return;
  const expected = `other than ${own.join(', ')}, which are the head's own,`;
  throw invalidArgument(functionName, argument, expected, value);
}

const STATES: readonly NativeHeadState[] = [
  'prototypes',
  'momentum',
  'accumulator',
];

/** Names of tensors that a head may write, now or after more training. */
const OWN_TENSORS: readonly string[] = [...STATES, 'reference'];

/** Metadata keys that a head writes. */
const OWN_KEYS: readonly string[] = ['format', 'settings', ...CHECKSUM_KEYS];

function rowShape(state: NativeHeadState, settings: CheckpointSettings) {
  const rows = stateRows(settings);
  return state === 'accumulator' ? [rows] : [rows, settings.dim];
}

/** Rows of the state arrays: one for each prototype. */
function stateRows({ identities, subCentres = 1 }: CheckpointSettings) {
  return identities * subCentres;
}

/** Rows of a state array as bytes, a bounded number at a time. */
async function* stateChunks(
  head: NativeHead,
  state: NativeHeadState,
  settings: CheckpointSettings,
): AsyncGenerator<Uint8Array> {
  const width = state === 'accumulator' ? 1 : settings.dim;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / (4 * width)));
  const total = stateRows(settings);
  for (let first = 0; first < total; first += perChunk) {
    const count = Math.min(perChunk, total - first);
    const rows = new Float32Array(count * width);
    head.readRows(state, first, rows);
    yield new Uint8Array(rows.buffer);
  }
}

/** Writes a head's state and settings; the old file survives any failure. */
export async function writeCheckpoint(
  path: string,
  head: NativeHead,
  settings: CheckpointSettings,
  reference: Float32Array | null,
  extra: CheckpointExtra,
): Promise<void> {
  const tensors: SafetensorsSource[] = STATES.filter((state) =>
    head.hasState(state),
  ).map((state) => ({
    name: state,
    dtype: 'F32',
    shape: rowShape(state, settings),
    chunks: stateChunks(head, state, settings),
  }));
  if (reference !== null) {
    tensors.push({
      name: 'reference',
      dtype: 'F32',
      shape: [reference.length],
      chunks: [new Uint8Array(reference.slice().buffer)],
    });
  }
  await writeChecksummed('PrototypeHead.save', path, {
    metadata: {
      ...extra.metadata,
      format: FORMAT,
      settings: JSON.stringify(settings),
    },
    tensors: [...tensors, ...(extra.tensors ?? [])],
  });
}

/** An open checkpoint whose settings were read. */
export interface OpenCheckpoint {
  readonly file: SafetensorsFile;
  readonly settings: CheckpointSettings;
  readonly reference: Float32Array | null;
  /** By tensor; undefined for files of older versions, which have none. */
  readonly checksums: ReadonlyMap<string, string> | undefined;
}

function checkpointError(path: string, problem: string): AlphaMarginError {
  return new AlphaMarginError('ERR_CHECKPOINT', `${path}: ${problem}`);
}

/** Opens a checkpoint and checks that it is a head's. The caller closes the file. */
export async function openCheckpoint(path: string): Promise<OpenCheckpoint> {
  const file = await openSafetensors(path);
  try {
    if (file.metadata.format !== FORMAT) {
      throw checkpointError(
        path,
        `not a head's checkpoint: expected format '${FORMAT}' but found '${file.metadata.format}'`,
      );
    }
    const checksums = readChecksums(file);
    const settings = readSettings(path, file.metadata.settings);
    for (const state of STATES) {
      const entry = file.tensors.get(state);
      if (entry === undefined && state !== 'prototypes') continue;
      const expected = rowShape(state, settings).join(', ');
      if (entry?.dtype !== 'F32' || entry.shape.join(', ') !== expected) {
        throw checkpointError(
          path,
          `expected '${state}' to be float32 [${expected}] but found ` +
            `${entry?.dtype} [${entry?.shape.join(', ')}]`,
        );
      }
    }
    return {
      file,
      settings,
      reference: await readReferenceRows(file, settings, checksums),
      checksums,
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Fields of a loss that files from before there were any lack. */
const LATER_LOSS_FIELDS: Partial<LossSpecification> = {
  labelSmoothing: 0,
  interTopK: 0,
  interTopKPenalty: 0,
};

/** The same of an update rule. */
const LATER_OPTIMIZER_FIELDS: Partial<OptimizerSpecification> = {
  initialAccumulator: 0,
};

function readSettings(
  path: string,
  text: string | undefined,
): CheckpointSettings {
  try {
    const settings: unknown = JSON.parse(text ?? '');
    if (typeof settings === 'object' && settings !== null) {
      const given = settings as CheckpointSettings;
      return {
        ...given,
        loss: { ...LATER_LOSS_FIELDS, ...given.loss },
        optimizer: { ...LATER_OPTIMIZER_FIELDS, ...given.optimizer },
      };
    }
  } catch {
    // Not JSON: reported below with every other damage of the settings.
  }
  throw checkpointError(path, 'the settings in its header are damaged');
}

async function readReferenceRows(
  file: SafetensorsFile,
  settings: CheckpointSettings,
  checksums: OpenCheckpoint['checksums'],
): Promise<Float32Array | null> {
  const entry = file.tensors.get('reference');
  if (entry === undefined) return null;
  if (entry.dtype !== 'F32' || entry.shape[0] !== settings.identities) {
    throw checkpointError(
      file.path,
      `expected 'reference' to be float32 [${settings.identities}]`,
    );
  }
  const reference = new Float32Array(settings.identities);
  await file.readRows('reference', 0, reference);
  const sum = new TensorChecksum(entry);
  sum.add(new Uint8Array(reference.buffer));
  checkTensor(file, 'reference', checksums?.get('reference'), sum);
  return reference;
}

/** Copies the arrays of a checkpoint into a head. */
export async function readCheckpointState(
  checkpoint: OpenCheckpoint,
  head: NativeHead,
): Promise<void> {
  const { file, checksums } = checkpoint;
  for (const state of STATES) {
    const entry = file.tensors.get(state);
    if (entry === undefined) continue;
    const sum = new TensorChecksum(entry);
    const rowBytes = Math.max(1, entry.byteLength / entry.shape[0]!);
    const rowsPerChunk = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
    for await (const { first, bytes } of file.rows(state, { rowsPerChunk })) {
      if (checksums !== undefined) sum.add(bytes);
      try {
        head.writeRows(state, first, new Float32Array(bytes.buffer));
      } catch (cause) {
        if (!isDamage(cause)) throw cause;
        throw new AlphaMarginError(
          'ERR_CHECKPOINT',
          `${file.path}: damaged values: ${(cause as Error).message}`,
          { cause },
        );
      }
    }
    checkTensor(file, state, checksums?.get(state), sum);
  }
  await checkExtraTensors(checkpoint);
}

/** Reads the caller's tensors once, to see that they are whole. */
async function checkExtraTensors({
  file,
  checksums,
}: OpenCheckpoint): Promise<void> {
  for (const [name, expected] of checksums ?? []) {
    if (OWN_TENSORS.includes(name)) continue;
    const sum = new TensorChecksum(file.tensor(name));
    for await (const { bytes } of file.rows(name)) sum.add(bytes);
    checkTensor(file, name, expected, sum);
  }
}

/** Whether the addon refused values, and did not fail for a reason of its own. */
function isDamage(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  return code === 'ERR_INVALID_ARGUMENT' || code === 'ERR_NON_FINITE';
}
