import { fileURLToPath } from 'node:url';
import { invalidArgument } from '../errors.js';
import { checkPath } from '../io/file-path.js';
import { readTextLines } from '../io/text-lines.js';
import { collectTrials, type TrialList } from './parse-trials.js';

/**
 * Reads a trial list from a file, one trial a line: `label enrolment test`, the
 * form of VoxCeleb's lists (see {@link parseTrials}). The file is read as a
 * stream; memory grows with the trials and the distinct names only.
 *
 * @param path The file, UTF-8.
 * @returns The trials, for {@link scoreTrials}.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first line that has
 *   another form, or when there is no trial at all; `ERR_CHECKPOINT` when the file
 *   cannot be read.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { readTrials } from 'alphamargin/verification';
 * writeFileSync('/tmp/trials.txt', '1 a.wav b.wav\n0 a.wav c.wav\n');
 * const trials = await readTrials('/tmp/trials.txt');
 * console.log(trials.genuine); // Uint8Array(2) [ 1, 0 ]
 */
export async function readTrials(path: string | URL): Promise<TrialList> {
  if (typeof path !== 'string' && !(path instanceof URL)) {
    throw invalidArgument('readTrials', 'path', 'a path or a file URL', path);
  }
  const source = typeof path === 'string' ? path : pathOf(path);
  checkPath('readTrials', source);
  const collector = collectTrials('readTrials', source);
  for await (const line of readTextLines(source)) collector.addLine(line);
  return collector.finish();
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw invalidArgument('readTrials', 'path', 'a file URL', String(url));
  }
}
