import { filePath } from '../io/file-path.js';
import { readTextLines } from '../io/text-lines.js';
import { collectTrials, LISTS, type TrialList } from './parse-trials.js';

/**
 * Reads a trial list from a file, one trial a line: `label enrolment test`, the form of VoxCeleb's
 * lists, or `enrolment test target|nontarget`, that of Kaldi's and WeSpeaker's (see
 * {@link parseTrials}). The file is read as a stream; memory grows with the trials and the distinct
 * names only.
 *
 * @param path The file, UTF-8.
 * @returns The trials, for {@link scoreTrials}.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first line that has
 *   another form than the first, or when there is no trial at all; `ERR_CHECKPOINT` when the file
 *   cannot be read.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { readTrials } from 'alphamargin/verification';
 * writeFileSync('/tmp/trials.txt', '1 a.wav b.wav\n0 a.wav c.wav\n');
 * const trials = await readTrials('/tmp/trials.txt');
 * console.log(trials.genuine); // Uint8Array(2) [ 1, 0 ]
 */
export async function readTrials(path: string | URL): Promise<TrialList> {
  const source = filePath('readTrials', path);
  const collector = collectTrials('readTrials', source, LISTS);
  for await (const line of readTextLines(source)) collector.addLine(line);
  return collector.finish();
}
