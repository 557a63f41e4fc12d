import { invalidArgument, roomFor } from '../errors.js';
import type { Matrix } from '../tensor.js';
import { readArray } from '../typed-arrays.js';
import { checkDataset, type EmbeddingRows } from './embedding-dataset.js';
import type { TemplateList } from './read-templates.js';

/** Rows read at once. */
const READ_ROWS = 4096;

/**
 * One embedding for each template, as IJB protocols compare them: images of one medium are
 * averaged first, then the media, so that a long video does not outweigh a photograph,
 *
 *     x_T = 1/|M_T| Σ_{m ∈ M_T} 1/|m| Σ_{i ∈ m} x_i
 *
 * The rows are taken as they are; normalise them first if their norms should not count. Memory is
 * the result and a few thousand rows.
 *
 * @param dataset Rows [N, D]: row i is the image of line i of the list.
 * @param templates Of {@link readTemplates}.
 * @returns [T, D], for `scoreTrials` with `names: templates.names`.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when the list has another number of images;
 *   `ERR_CHECKPOINT` when a file cannot be read.
 * @example
 * const templates = await readTemplates('ijbc_face_tid_mid.txt');
 * const embeddings = await templateEmbeddings(dataset, templates);
 * const trials = await readTemplatePairs('ijbc_template_pair_label.txt');
 * const scores = await scoreTrials(embeddings, { trials, names: templates.names });
 */
export async function templateEmbeddings(
  dataset: EmbeddingRows,
  templates: TemplateList,
): Promise<Matrix> {
  const functionName = 'templateEmbeddings';
  const { dim, count, gather } = checkDataset(functionName, dataset);
  const { template, media, size } = checkTemplates(templates);
  if (template.length !== count) {
    throw invalidArgument(
      functionName,
      'templates',
      `a list of ${count} images, one for each row`,
      template.length,
    );
  }
  const weights = weightsOf(template, media, size);
  const sums = roomFor(functionName, () => new Float32Array(size * dim));
  const buffer = roomFor(
    functionName,
    () => new Float32Array(Math.min(count, READ_ROWS) * dim),
  );
  for (let first = 0; first < count; first += READ_ROWS) {
    const length = Math.min(READ_ROWS, count - first);
    const rows = Int32Array.from({ length }, (_, index) => first + index);
    await gather(rows, buffer.subarray(0, length * dim));
    for (const row of rows) {
      const from = (row - first) * dim;
      const to = template[row]! * dim;
      for (let column = 0; column < dim; column += 1) {
        sums[to + column]! += weights[row]! * buffer[from + column]!;
      }
    }
  }
  return { type: 'float32', data: sums, dims: [size, dim] };
}

/** What each image counts for: 1 / (media of its template × images of its medium there). */
function weightsOf(
  template: Int32Array,
  media: Int32Array,
  size: number,
): Float64Array {
  const images = new Map<number, number>();
  const mediaOf = new Int32Array(size);
  // Media are numbered from 0 on, so there are no more of them than images.
  const keyOf = (row: number) => template[row]! * media.length + media[row]!;
  for (let row = 0; row < template.length; row += 1) {
    const known = images.get(keyOf(row)) ?? 0;
    if (known === 0) mediaOf[template[row]!]! += 1;
    images.set(keyOf(row), known + 1);
  }
  return Float64Array.from(
    template,
    (own, row) => 1 / (mediaOf[own]! * images.get(keyOf(row))!),
  );
}

/** Checks the arrays of a list that may not come from readTemplates. */
function checkTemplates(list: TemplateList) {
  const { names, ...arrays } = list ?? {};
  const size: unknown = Array.isArray(names) ? names.length : undefined;
  const template = readArray(arrays.template, 'Int32Array');
  const media = readArray(arrays.media, 'Int32Array');
  if (
    typeof size !== 'number' ||
    template === undefined ||
    media?.length !== template.length ||
    !template.every((position) => position >= 0 && position < size) ||
    !media.every((medium) => medium >= 0 && medium < media.length)
  ) {
    throw invalidArgument(
      'templateEmbeddings',
      'templates',
      'a template list (of readTemplates): names, and template and media of one length',
      list,
    );
  }
  return { template, media, size };
}
