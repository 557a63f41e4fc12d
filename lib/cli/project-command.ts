import { parseArgs } from 'node:util';
import type { EmbeddingDataset } from '../data/embedding-dataset.js';
import { openEmbeddings } from '../data/open-embeddings.js';
import { AlphaMarginError } from '../errors.js';
import {
  checkWritable,
  writeAll,
  writeFileAtomically,
  writeTextAtomically,
} from '../io/atomic-file.js';
import { encodeNpyHeader } from '../io/npy-header.js';
import { openSafetensors } from '../io/safetensors-reader.js';
import { setThreadCount } from '../thread-count.js';
import { placeIn, readRows } from './embedding-inputs.js';
import { checkFeatures } from './input-checks.js';
import { checkOutputs, filesOf } from './output-checks.js';
import { projectionFor, projectRows } from './projected-system.js';
import { ROWS_AT_A_TIME } from './projection.js';
import { OptionReader, readThreads, UsageError } from './usage.js';

const text = { type: 'string' } as const;

const OPTIONS = {
  head: text,
  embeddings: { type: 'string', multiple: true },
  out: text,
  normalize: { type: 'boolean' },
  names: text,
  threads: text,
} as const;

/** Text of `alphamargin project --help`. */
export const help = `Usage: alphamargin project --head head.safetensors --embeddings x.npy --out y.npy [options]

Writes embeddings after the projection of a checkpoint, for use elsewhere: y = P·x for each row.

  --head FILE        checkpoint of "alphamargin train" with --project
  --embeddings FILE  npy or safetensors, [N, D]; Kaldi scp or ark; may be repeated: the files are
                     one set, which may be larger than memory
  --out FILE         npy to write, float32 [N, D of the projection], rows in their order; replaced
                     if it exists
  --normalize        divide each row by its length; without it rows have the length that the
                     projection gives them, which a cosine does not see
  --names FILE       names of the rows to write, one a line, where the files have any (Kaldi): for
                     "alphamargin verify --names"
  --threads N        threads of the CPU backend

Example
  alphamargin project --head head.safetensors --embeddings features.npy --out embeddings.npy`;

/** Runs `alphamargin project`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true });
  const read = new OptionReader(values);
  const head = read.required('head');
  const embeddings = read.list('embeddings');
  const out = read.required('out');
  const names = read.text('names');
  const threads = readThreads(read);
  if (!out.endsWith('.npy')) {
    throw new UsageError(`--out must be the name of an npy file, not '${out}'`);
  }
  await checkOutputs(filesOf({ out, names }), filesOf({ head, embeddings }));
  for (const file of [out, names]) {
    if (file !== undefined) await checkWritable(file);
  }
  if (threads !== undefined) setThreadCount(threads);
  await using dataset = await openEmbeddings(embeddings);
  const listed = names === undefined ? undefined : namesOf(dataset);
  const width = await writeProjected(out, head, dataset, {
    normalize: read.flag('normalize'),
    placeOf: placeIn(embeddings, dataset),
  });
  if (names !== undefined) {
    await writeTextAtomically(names, `${listed!.join('\n')}\n`);
  }
  console.log(`${out}: ${dataset.count} rows of ${width}`);
  return 0;
}

function namesOf({ names }: EmbeddingDataset): readonly string[] {
  if (names !== undefined) return names;
  throw new AlphaMarginError(
    'ERR_INVALID_ARGUMENT',
    '--names: the rows of these embeddings have no names; those of Kaldi files have',
  );
}

/** Projects the rows in their order, some at a time; returns the width. */
async function writeProjected(
  out: string,
  head: string,
  dataset: EmbeddingDataset,
  {
    normalize,
    placeOf,
  }: { normalize: boolean; placeOf: (row: number) => string },
): Promise<number> {
  const { count, dim } = dataset;
  const checkpoint = await openSafetensors(head);
  try {
    const projection = await projectionFor(checkpoint, dim);
    const { outputs } = projection;
    await writeFileAtomically(out, async (handle) => {
      await writeAll(handle, encodeNpyHeader('<f4', [count, outputs]));
      for (let first = 0; first < count; first += ROWS_AT_A_TIME) {
        const length = Math.min(ROWS_AT_A_TIME, count - first);
        const rows = Int32Array.from({ length }, (_, row) => first + row);
        const features = await readRows(dataset, rows);
        checkFeatures(features, dim, rows, placeOf);
        const data = await projectRows(head, projection, features, rows);
        if (normalize) divideByLength(data, outputs);
        await writeAll(handle, new Uint8Array(data.buffer));
      }
    });
    return outputs;
  } finally {
    await checkpoint.close();
  }
}

/** Rows [N, dim] to length 1, in place; they have been found to have a direction. */
function divideByLength(data: Float32Array, dim: number): void {
  for (let start = 0; start < data.length; start += dim) {
    const row = data.subarray(start, start + dim);
    const length = Math.sqrt(row.reduce((sum, value) => sum + value ** 2, 0));
    for (let index = 0; index < dim; index += 1) row[index]! /= length;
  }
}
