import { invalidArgument } from '../errors.js';
import type { Tensor } from '../tensor.js';
import type { EmbeddingRows } from './embedding-dataset.js';
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
): Promise<Tensor> {
  const { template, names } = templates;
  if (template.length !== dataset.count) {
    throw invalidArgument(
      'templateEmbeddings',
      'templates',
      `a list of ${dataset.count} images, one for each row`,
      template.length,
    );
  }
  const { dim, count } = dataset;
  const weights = weightsOf(templates);
  const sums = new Float32Array(names.length * dim);
  const buffer = new Float32Array(Math.min(count, READ_ROWS) * dim);
  for (let first = 0; first < count; first += READ_ROWS) {
    const length = Math.min(READ_ROWS, count - first);
    const rows = Int32Array.from({ length }, (_, index) => first + index);
    await dataset.gather(rows, buffer.subarray(0, length * dim));
    for (const row of rows) {
      const from = (row - first) * dim;
      const to = template[row]! * dim;
      for (let column = 0; column < dim; column += 1) {
        sums[to + column]! += weights[row]! * buffer[from + column]!;
      }
    }
  }
  return { type: 'float32', data: sums, dims: [names.length, dim] };
}

/** What each image counts for: 1 / (media of its template × images of its medium there). */
function weightsOf({ template, media, names }: TemplateList): Float64Array {
  const images = new Map<number, number>();
  const mediaOf = new Int32Array(names.length);
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
