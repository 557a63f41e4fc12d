import { filePath } from '../io/file-path.js';
import { readTextLines } from '../io/text-lines.js';
import { collectTrials, IJB, type TrialList } from './parse-trials.js';

/**
 * Reads the pairs of an IJB-style protocol (`ijbc_template_pair_label.txt`): one pair a line,
 * `template template label`, label 1 for the same subject, 0 for two. Memory grows with the
 * pairs and the distinct templates only.
 *
 * @param path The file, UTF-8.
 * @returns The pairs as trials, for {@link scoreTrials}; `names` are the templates.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first line that has another form, or
 *   when there is no pair at all; `ERR_CHECKPOINT` when the file cannot be read.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { readTemplatePairs } from 'alphamargin/verification';
 * writeFileSync('/tmp/pairs.txt', '1 11065 1\n1 14032 0\n');
 * const pairs = await readTemplatePairs('/tmp/pairs.txt');
 * console.log(pairs.names); // [ '1', '11065', '14032' ]
 */
export async function readTemplatePairs(
  path: string | URL,
): Promise<TrialList> {
  const source = filePath('readTemplatePairs', path);
  const collector = collectTrials('readTemplatePairs', source, [IJB]);
  for await (const line of readTextLines(source)) collector.addLine(line);
  return collector.finish();
}
