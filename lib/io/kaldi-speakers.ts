import { types } from 'node:util';
import { AlphaMarginError, describe, invalidArgument } from '../errors.js';
import { filePath } from './file-path.js';
import { readTextLines } from './text-lines.js';

/**
 * Reads a Kaldi `utt2spk` map: lines `utterance speaker`.
 *
 * @param path The file, UTF-8.
 * @returns Speaker by utterance, in the order of the file.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the line that has another form or
 *   repeats an utterance; `ERR_CHECKPOINT` when the file cannot be read.
 * @example
 * const speakers = await readUtt2spk('utt2spk');
 * speakers.get('id10270-5r0dWxy17C8-00001'); // 'id10270'
 */
export async function readUtt2spk(
  path: string | URL,
): Promise<Map<string, string>> {
  const speakers = new Map<string, string>();
  for await (const { fields, refuse } of fieldsOf('readUtt2spk', path)) {
    const [utterance, speaker] = fields;
    if (fields.length !== 2) throw refuse("'utterance speaker'");
    if (speakers.has(utterance!)) throw refuse('a new utterance');
    speakers.set(utterance!, speaker!);
  }
  return speakers;
}

/**
 * Reads a Kaldi `spk2utt` map: lines `speaker utterance utterance …`.
 *
 * @param path The file, UTF-8.
 * @returns Utterances by speaker, in the order of the file.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the line that has another form or
 *   repeats a speaker; `ERR_CHECKPOINT` when the file cannot be read or has a line longer than
 *   16 MiB.
 * @example
 * for (const [speaker, utterances] of await readSpk2utt('spk2utt')) {
 *   console.log(speaker, utterances.length);
 * }
 */
export async function readSpk2utt(
  path: string | URL,
): Promise<Map<string, string[]>> {
  const utterances = new Map<string, string[]>();
  for await (const { fields, refuse } of fieldsOf('readSpk2utt', path)) {
    const [speaker, ...own] = fields;
    if (own.length === 0) throw refuse("'speaker utterance …'");
    if (utterances.has(speaker!)) throw refuse('a new speaker');
    utterances.set(speaker!, own);
  }
  return utterances;
}

/** Labels made of names; see {@link speakerLabels}. */
export interface SpeakerLabels {
  /** Int32Array [N], position in `speakers`. */
  readonly labels: Int32Array;
  /** [C], the speakers that occur, in ascending order. */
  readonly speakers: readonly string[];
}

/**
 * Numbers the speakers of utterances 0 … C − 1, in the order of their names, so that the numbers
 * do not depend on the order of the utterances.
 *
 * @param names [N], utterances: the `names` of a data set.
 * @param utt2spk Of {@link readUtt2spk}.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first utterance without a speaker.
 * @example
 * const { labels, speakers } = speakerLabels(dataset.names, await readUtt2spk('utt2spk'));
 */
export function speakerLabels(
  names: readonly string[],
  utt2spk: ReadonlyMap<string, string>,
): SpeakerLabels {
  if (!Array.isArray(names)) {
    throw invalidArgument('speakerLabels', 'names', 'an array of names', names);
  }
  if (!types.isMap(utt2spk)) {
    throw invalidArgument('speakerLabels', 'utt2spk', 'a Map', utt2spk);
  }
  const ofRow = Array.from(names as readonly unknown[], (name) => {
    const speaker: unknown = Map.prototype.get.call(utt2spk, name);
    if (speaker !== undefined && typeof speaker !== 'string') {
      throw invalidArgument(
        'speakerLabels',
        `the speaker of ${describe(name)}`,
        'a string',
        speaker,
      );
    }
    if (speaker !== undefined) return speaker;
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `speakerLabels: expected utt2spk to hold every name but received none that is ${describe(name)}`,
    );
  });
  const speakers = [...new Set(ofRow)].sort();
  const numbers = new Map(speakers.map((speaker, index) => [speaker, index]));
  const labels = Int32Array.from(ofRow, (speaker) => numbers.get(speaker)!);
  return { labels, speakers };
}

/** Lines split at blanks, blank lines left out, with the error of a line. */
async function* fieldsOf(functionName: string, path: string | URL) {
  const source = filePath(functionName, path);
  let lines = 0;
  for await (const line of readTextLines(source)) {
    lines += 1;
    const fields = line.trim().split(/\s+/);
    if (fields[0] === '') continue;
    const refuse = (expected: string) =>
      invalidArgument(
        functionName,
        `line ${lines} of ${source}`,
        expected,
        line.trim(),
      );
    yield { fields, refuse };
  }
}
