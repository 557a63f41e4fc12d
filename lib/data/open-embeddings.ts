import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { filePath } from '../io/file-path.js';
import { readOptions } from '../options.js';
import { EmbeddingDataset } from './embedding-dataset.js';
import { arkRows, scpRows } from './kaldi-rows.js';
import type { RowSource } from './row-source.js';
import { npyRows, safetensorsRows } from './strided-rows.js';

/** Options of {@link openEmbeddings}. */
export interface OpenEmbeddingsOptions {
  /** Tensor of the safetensors files; default: the only one that has two sizes. */
  readonly tensor?: string | undefined;
}

/** How to open a file, by the end of its name. */
const FORMATS: Readonly<
  Record<string, (path: string, tensor?: string) => Promise<RowSource>>
> = {
  '.npy': npyRows,
  '.safetensors': safetensorsRows,
  '.scp': scpRows,
  '.ark': arkRows,
};

/**
 * Opens embeddings in files as one data set [N, D]; the rows of the first file come first. The
 * format follows from the end of the name:
 *
 * | file | rows |
 * |---|---|
 * | `.npy` | float32, float16 or float64 [N, D] |
 * | `.safetensors` | a tensor [N, D] of F32, F16, BF16 or F64 |
 * | `.scp` | Kaldi: the vectors it names, binary or text, each with the name of its utterance |
 * | `.ark` | Kaldi: its vectors in order; the file is read once to find them |
 *
 * Numbers come out as float32, whatever they are in the file; float64 beyond its range becomes an
 * infinity. Sizes are checked against the files before anything is read.
 *
 * @param paths A file, or files with rows of one size.
 * @param options Defaults: the only matrix of a safetensors file.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for another format, type or size, or no rows;
 *   `ERR_CHECKPOINT` for a file that is missing, damaged or truncated.
 * @example
 * const dataset = await openEmbeddings(['part-1.npy', 'part-2.npy']);
 * console.log(dataset.count, dataset.dim);
 * await dataset.close();
 */
export async function openEmbeddings(
  paths: string | URL | readonly (string | URL)[],
  options: OpenEmbeddingsOptions = {},
): Promise<EmbeddingDataset> {
  const name = 'openEmbeddings';
  const { tensor } = readOptions<OpenEmbeddingsOptions>(name, options, [
    'tensor',
  ]);
  const list: unknown =
    typeof paths === 'string' || paths instanceof URL ? [paths] : paths;
  if (tensor !== undefined && typeof tensor !== 'string') {
    throw invalidArgument(name, 'options.tensor', 'a string', tensor);
  }
  if (!Array.isArray(list) || list.length === 0) {
    throw invalidArgument(name, 'paths', 'a path or an array of paths', paths);
  }
  const names: string[] = [];
  const parts: RowSource[] = [];
  try {
    for (const given of list as unknown[]) {
      const path = filePath(name, given);
      names.push(path);
      const end = /\.[a-z]+$/.exec(path)?.[0] ?? '';
      if (!Object.hasOwn(FORMATS, end)) {
        const known = Object.keys(FORMATS).join(', ');
        throw invalidArgument(name, 'paths', `files named ${known}`, path);
      }
      parts.push(await FORMATS[end]!(path, tensor));
    }
    checkParts(names, parts);
    return new EmbeddingDataset(parts);
  } catch (cause) {
    for (const part of parts) await part.close();
    throw cause;
  }
}

/** Refuses parts that are not one matrix together. */
function checkParts(
  paths: readonly string[],
  parts: readonly RowSource[],
): void {
  const dim = parts[0]!.dim;
  const other = parts.findIndex((part) => part.dim !== dim);
  if (other >= 0) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `openEmbeddings: expected rows of ${dim}, as in ${describe(paths[0])}, in ` +
        `${paths[other]} but received rows of ${parts[other]!.dim}`,
    );
  }
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  if (count === 0 || count >= 2 ** 31) {
    throw invalidArgument(
      'openEmbeddings',
      `the rows of ${paths.slice(0, 8).join(', ')}`,
      'between 1 and 2^31 − 1',
      count,
    );
  }
}
