import { createHash } from 'node:crypto';
import type { Device } from '../device.js';
import { damagedFile } from '../io/file-errors.js';
import {
  openSafetensors,
  type SafetensorsFile,
} from '../io/safetensors-reader.js';
import type { SafetensorsSource } from '../io/safetensors-writer.js';
import { PrototypeHead } from '../prototype-head.js';
import { readProjection } from './checkpoint-projection.js';
import type { TrainingData } from './training-data.js';
import type { TrainingRecipe } from './training-recipe.js';
import { type TakenFrom, TrainingState } from './training-state.js';

/** Rows whose features tell one training set from another. */
const SAMPLED_ROWS = 64;

/** Values of the fields that recipes from before there were any lack. */
const LATER_FIELDS: Partial<TrainingRecipe> = {
  subCentres: 1,
  logitAdjustment: null,
};

/** Writes head, projection and position as one checkpoint, complete or not at all. */
export async function saveTraining(
  path: string,
  state: TrainingState,
  data: TrainingData,
  recipe: TrainingRecipe,
): Promise<void> {
  const tensors: SafetensorsSource[] = [
    {
      name: 'train.identities',
      dtype: 'I32',
      shape: [data.identities.length],
      chunks: [bytesOf(data.identities)],
    },
  ];
  const { projection } = state;
  if (projection !== null) {
    for (const part of ['weight', 'momentum'] as const) {
      tensors.push({
        name: `projection.${part}`,
        dtype: 'F32',
        shape: [projection.outputs, projection.inputs],
        chunks: [bytesOf(projection[part])],
      });
    }
  }
  const metadata = {
    'train.recipe': JSON.stringify(recipe),
    'train.data': await fingerprint(data),
    'train.step': String(state.step),
    'train.sums': JSON.stringify(state.sums),
    'train.history': JSON.stringify(state.history),
    ...(state.from && { 'train.from': JSON.stringify(state.from) }),
  };
  await state.head.save(path, { extra: { tensors, metadata } });
}

/**
 * The state a checkpoint holds.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file is damaged, was not written by
 *   `train`, or belongs to other data or another recipe.
 */
export async function loadTraining(
  path: string,
  data: TrainingData,
  recipe: TrainingRecipe,
  device: Device,
): Promise<TrainingState> {
  const file = await openSafetensors(path);
  try {
    await checkSameRun(file, data, recipe);
    const projection = await readProjection(file);
    const from = readFrom(file);
    const state = new TrainingState(
      await PrototypeHead.load(path, { device }),
      projection,
      from,
    );
    readPosition(file, state);
    return state;
  } finally {
    await file.close();
  }
}

/** Reads what the run started from. */
function readFrom({ path, metadata }: SafetensorsFile): TakenFrom | null {
  try {
    return JSON.parse(metadata['train.from'] ?? 'null');
  } catch {
    throw damagedFile(path, 'cannot resume: its train.from is damaged');
  }
}

/** Reads where the run stood. */
function readPosition(
  { path, metadata }: SafetensorsFile,
  state: TrainingState,
): void {
  try {
    state.step = JSON.parse(metadata['train.step'] ?? '');
    Object.assign(state.sums, JSON.parse(metadata['train.sums'] ?? ''));
    state.history.push(...JSON.parse(metadata['train.history'] ?? ''));
  } catch {
    throw damagedFile(path, 'cannot resume: its train.* metadata is damaged');
  }
}

/** Refuses a checkpoint that another run wrote, naming the first difference. */
async function checkSameRun(
  { path, metadata }: SafetensorsFile,
  data: TrainingData,
  recipe: TrainingRecipe,
): Promise<void> {
  const saved = metadata['train.recipe'];
  if (saved === undefined) {
    throw damagedFile(path, 'cannot resume: not a checkpoint of train');
  }
  if (metadata['train.data'] !== (await fingerprint(data))) {
    throw damagedFile(path, 'cannot resume: it was trained on other data');
  }
  const before = parseRecipe(path, saved);
  for (const [name, value] of Object.entries(recipe)) {
    const [was, is] = [before[name], value].map((part) => JSON.stringify(part));
    if (was !== is) {
      throw damagedFile(
        path,
        `cannot resume: ${name} was ${was} and is now ${is}`,
      );
    }
  }
}

function parseRecipe(path: string, text: string): Record<string, unknown> {
  try {
    return { ...LATER_FIELDS, ...JSON.parse(text) };
  } catch {
    throw damagedFile(path, 'cannot resume: its train.recipe is damaged');
  }
}

/** Tells training sets apart: sizes, rows and labels, and a sample of the features. */
async function fingerprint({
  source,
  rows,
  labels,
}: TrainingData): Promise<string> {
  const hash = createHash('sha256');
  hash.update(`${source.count} ${source.dim} `);
  hash.update(bytesOf(rows)).update(bytesOf(labels));
  const stride = Math.max(1, Math.floor(rows.length / SAMPLED_ROWS));
  const sample = rows.filter((_, index) => index % stride === 0);
  const features = new Float32Array(sample.length * source.dim);
  await source.gather(sample, features);
  return hash.update(bytesOf(features)).digest('hex');
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
