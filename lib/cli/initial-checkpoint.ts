import { type OpenCheckpoint, openCheckpoint } from '../checkpoint.js';
import type { Device } from '../device.js';
import { checkTensor, TensorChecksum } from '../io/checksums.js';
import { damagedFile } from '../io/file-errors.js';
import { readProjection } from './checkpoint-projection.js';
import { Projection } from './projection.js';
import { asTensor } from './training-batches.js';
import type { TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';
import { type TakenFrom, TrainingState } from './training-state.js';

/** Bytes of prototypes that are read at a time. */
const CHUNK_BYTES = 2 ** 22;

/**
 * The state before the first step of a run that starts from the prototypes of another one, and from
 * its projection where both have one. All else is new: loss, update rule with a state of zero, schedule.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file is damaged, or is not of the identities,
 *   sub-centres and width of this run.
 */
export async function startFrom(
  path: string,
  data: TrainingData,
  recipe: TrainingRecipe,
  device: Device,
): Promise<TrainingState> {
  const checkpoint = await openCheckpoint(path);
  let started: TrainingState | undefined;
  try {
    const own = await readProjection(checkpoint.file);
    const projection = recipe.projection && own && withoutMomentum(own);
    checkSizes(checkpoint, data, recipe, projection);
    await checkIdentities(checkpoint, data);
    if (projection) {
      checkSum(checkpoint, 'projection.weight', bytesOf(projection.weight));
    }
    started = TrainingState.start(data, recipe, device);
    await copyPrototypes(checkpoint, started);
    const from: TakenFrom = {
      path,
      projection:
        own === null ? 'none' : projection === null ? 'left' : 'taken',
    };
    return new TrainingState(
      started.head,
      projection ?? started.projection,
      from,
    );
  } catch (cause) {
    started?.dispose();
    throw cause;
  } finally {
    await checkpoint.file.close();
  }
}

function withoutMomentum({ inputs, outputs, weight }: Projection): Projection {
  return new Projection(
    inputs,
    outputs,
    weight,
    new Float32Array(weight.length),
  );
}

/** Refuses what does not fit, saying what was expected and received. */
function unfit(path: string, expected: string, received: string | number) {
  return damagedFile(
    path,
    `cannot start from it: expected ${expected} but received ${received}`,
  );
}

function checkSizes(
  { file, settings }: OpenCheckpoint,
  { source, identities }: TrainingData,
  recipe: TrainingRecipe,
  projection: Projection | null,
): void {
  const { path } = file;
  const sizes = (inputs: number, outputs: number) => `${inputs} to ${outputs}`;
  if (projection !== null && recipe.projection !== null) {
    const expected = sizes(source.dim, recipe.projection.dim);
    const received = sizes(projection.inputs, projection.outputs);
    if (expected !== received) {
      throw unfit(path, `a projection from ${expected}`, received);
    }
  }
  const { subCentres = 1 } = settings;
  const width = recipe.projection?.dim ?? source.dim;
  if (settings.dim !== width) {
    throw unfit(path, `prototypes of width ${width}`, settings.dim);
  }
  if (settings.identities !== identities.length) {
    throw unfit(path, `${identities.length} identities`, settings.identities);
  }
  if (subCentres !== recipe.subCentres) {
    throw unfit(path, `--sub-centres ${recipe.subCentres}`, subCentres);
  }
}

/**
 * Refuses a checkpoint of other identities. One that `train` did not write does not name them: there
 * class k is taken for the k-th label.
 */
async function checkIdentities(
  checkpoint: OpenCheckpoint,
  { identities }: TrainingData,
): Promise<void> {
  const { file } = checkpoint;
  const name = 'train.identities';
  if (!file.tensors.has(name)) return;
  const { dtype, shape } = file.tensor(name);
  if (dtype !== 'I32' || shape.join() !== `${identities.length}`) {
    throw damagedFile(
      file.path,
      `tensor '${name}' is not I32 [${identities.length}] but ${dtype} [${shape.join(', ')}]`,
    );
  }
  const labels = new Int32Array(identities.length);
  await file.readRows(name, 0, labels);
  checkSum(checkpoint, name, bytesOf(labels));
  const other = identities.findIndex((label, k) => label !== labels[k]);
  if (other < 0) return;
  const expected = `class ${other} to be the identity ${identities[other]}`;
  throw unfit(file.path, expected, labels[other]!);
}

/** Fills a head piece by piece: no second copy of the prototypes is held. */
async function copyPrototypes(
  checkpoint: OpenCheckpoint,
  { head }: TrainingState,
): Promise<void> {
  const { file, checksums } = checkpoint;
  const entry = file.tensor('prototypes');
  const sum = new TensorChecksum(entry);
  const { subCentres, dim } = head;
  const identitiesPerChunk = Math.max(
    1,
    Math.floor(CHUNK_BYTES / (4 * dim * subCentres)),
  );
  const rowsPerChunk = identitiesPerChunk * subCentres;
  const pieces = file.rows('prototypes', { rowsPerChunk });
  for await (const { first, bytes } of pieces) {
    if (checksums !== undefined) sum.add(bytes);
    const values = new Float32Array(bytes.buffer);
    const rows = values.length / dim;
    const chosen = Int32Array.from(
      { length: rows / subCentres },
      (_, index) => first / subCentres + index,
    );
    try {
      await head.setPrototypes(asTensor(values, rows), chosen);
    } catch (cause) {
      if (!isRefusal(cause)) throw cause;
      const place = `rows ${first} to ${first + rows - 1}`;
      throw damagedFile(file.path, `${place} of its prototypes are damaged`);
    }
  }
  checkTensor(file, 'prototypes', checksums?.get('prototypes'), sum);
}

/** Whether the head refused values, and did not fail for a reason of its own. */
function isRefusal(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  return code === 'ERR_INVALID_ARGUMENT' || code === 'ERR_NON_FINITE';
}

/** Compares a tensor that was read as a whole with its checksum. */
function checkSum(
  { file, checksums }: OpenCheckpoint,
  name: string,
  bytes: Uint8Array,
): void {
  const sum = new TensorChecksum(file.tensor(name));
  sum.add(bytes);
  checkTensor(file, name, checksums?.get(name), sum);
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
