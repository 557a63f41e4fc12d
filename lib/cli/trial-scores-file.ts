import { writeAll, writeFileAtomically } from '../io/atomic-file.js';
import { damagedFile } from '../io/file-errors.js';
import { readTextLines } from '../io/text-lines.js';
import type { RawScores } from '../verification/trial-scores.js';

/** Characters that are written at a time. */
const CHUNK = 2 ** 16;

/**
 * Writes the trials of a list with their scores: each line as it stands in the list, then a score of
 * each system. The digits are enough to read back the same numbers.
 *
 * @param list The file of the trials, which is read once more: its lines need not be held.
 * @param systems Scores in the order of the list, [T] each.
 */
export async function writeTrialScores(
  path: string,
  list: string,
  systems: readonly RawScores[],
): Promise<void> {
  await writeFileAtomically(path, async (handle) => {
    let trial = 0;
    let text = '';
    for await (const line of readTextLines(list)) {
      const fields = line.trim();
      if (fields === '') continue;
      const scores = systems.map((system) => system[trial]);
      text += `${fields} ${scores.join(' ')}\n`;
      trial += 1;
      if (text.length < CHUNK) continue;
      await writeAll(handle, Buffer.from(text));
      text = '';
    }
    const scored = systems[0]?.length;
    if (trial !== scored) {
      throw damagedFile(
        list,
        `it held ${scored} trials when they were scored and holds ${trial} now; --scores ` +
          'reads it twice, so it can be no pipe',
      );
    }
    await writeAll(handle, Buffer.from(text));
  });
}
