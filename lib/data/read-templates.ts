import { invalidArgument } from '../errors.js';
import { filePath } from '../io/file-path.js';
import { readTextLines } from '../io/text-lines.js';

/** The images of N rows, by template and medium; see {@link readTemplates}. */
export interface TemplateList {
  /** [T], the distinct templates, in the order of their first appearance. */
  readonly names: readonly string[];
  /** [T], the subject of each template, where the file says it. */
  readonly subjects: readonly string[] | undefined;
  /** [N], images in the order of the file. */
  readonly images: readonly string[];
  /** Int32Array [N], position in `names`. */
  readonly template: Int32Array;
  /** Int32Array [N], equal for images of one medium: the frames of a video. */
  readonly media: Int32Array;
}

/**
 * Reads the templates of an IJB-style protocol (`ijbc_face_tid_mid.txt`): one image a line,
 * `image template medium`, and optionally a fourth field `subject`; blanks or commas between
 * them. An image may belong to several templates.
 *
 * @param path The file, UTF-8.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first line that has another form or
 *   gives a template a second subject, or when there is no line at all; `ERR_CHECKPOINT` when the
 *   file cannot be read.
 * @example
 * const templates = await readTemplates('ijbc_face_tid_mid.txt');
 * console.log(templates.names.length, templates.images.length);
 */
export async function readTemplates(path: string | URL): Promise<TemplateList> {
  const source = filePath('readTemplates', path);
  const numbers = { template: numbering(), media: numbering() };
  const subjects: string[] = [];
  const images: string[] = [];
  const template: number[] = [];
  const media: number[] = [];
  let fieldCount: number | undefined;
  let lines = 0;
  for await (const line of readTextLines(source)) {
    lines += 1;
    const fields = line.trim().split(/\s*[,\s]\s*/);
    if (fields[0] === '' && fields.length === 1) continue;
    const refuse = (expected: string) =>
      invalidArgument(
        'readTemplates',
        `line ${lines} of ${source}`,
        expected,
        line.trim(),
      );
    fieldCount ??= fields.length === 4 ? 4 : 3;
    if (fields.length !== fieldCount || fields.includes('')) {
      const subject = fieldCount === 4 ? ' subject' : '';
      throw refuse(`'image template medium${subject}'`);
    }
    const [image, name, medium, subject] = fields as [
      string,
      string,
      string,
      string?,
    ];
    const position = numbers.template.of(name);
    if (subject !== undefined) {
      subjects[position] ??= subject;
      if (subjects[position] !== subject) {
        throw refuse(
          `of subject '${subjects[position]}', as template ${name} was before`,
        );
      }
    }
    images.push(image);
    template.push(position);
    media.push(numbers.media.of(medium));
  }
  if (images.length === 0) {
    throw invalidArgument(
      'readTemplates',
      source,
      "lines 'image template medium'",
      lines,
    );
  }
  return {
    names: numbers.template.names(),
    subjects: fieldCount === 4 ? subjects : undefined,
    images,
    template: Int32Array.from(template),
    media: Int32Array.from(media),
  };
}

/** Numbers names in the order of their first appearance. */
function numbering() {
  const positions = new Map<string, number>();
  return {
    of(name: string): number {
      const known = positions.get(name);
      if (known !== undefined) return known;
      positions.set(name, positions.size);
      return positions.size - 1;
    },
    names: () => [...positions.keys()],
  };
}
