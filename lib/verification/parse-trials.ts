import { AlphaMarginError, invalidArgument } from '../errors.js';

/** A list of T verification trials: which two recordings or images to compare. */
export interface TrialList {
  /** [T], 1 for a trial of one identity, 0 for a trial of two. */
  readonly genuine: Uint8Array;
  /** [T], positions in `names`; rows of the embeddings when there are no names. */
  readonly enrolment: Int32Array;
  /** [T], the other side of each trial, likewise. */
  readonly test: Int32Array;
  /** The distinct names, in the order of their first appearance. */
  readonly names?: readonly string[] | undefined;
}

/** A list, and how the rows of the embeddings are named in it. */
export interface ListedTrials {
  /** The trials, of {@link readTrials} or {@link parseTrials}. */
  readonly trials: TrialList;
  /**
   * [N], the name of each row of the embeddings, all different. Without it, the
   * names in the list must be row numbers.
   */
  readonly names?: readonly string[] | undefined;
}

/**
 * Reads a trial list from text, one trial a line, in the form of VoxCeleb's lists or in that of Kaldi's
 * and WeSpeaker's:
 *
 *     1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav
 *     0 id10270/x6uYqmx31kE/00001.wav id10300/ize_eiCFEg0/00003.wav
 *
 *     id10270-x6uYqmx31kE-00001 id10270-8jEAjG6SegY-00008 target
 *     id10270-x6uYqmx31kE-00001 id10300-ize_eiCFEg0-00003 nontarget
 *
 * That is label (1 one identity, 0 two), enrolment, test; or enrolment, test, label. The first line
 * tells the form, and all others must have it. A first line that fits both, as `1 7 target`, is taken
 * for Kaldi's. Fields are separated by spaces or tabs; names cannot hold any. Blank lines, CRLF
 * and a byte order mark are tolerated. {@link readTrials} reads a file without holding its text.
 *
 * @param text The whole list.
 * @returns The trials, each name stored once.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the first line that has
 *   another form, or when there is no trial at all.
 * @example
 * import { parseTrials } from 'alphamargin/verification';
 * const trials = parseTrials('1 a.wav b.wav\n0 a.wav c.wav\n');
 * console.log(trials.names); // [ 'a.wav', 'b.wav', 'c.wav' ]
 * console.log(trials.test); // Int32Array(2) [ 1, 2 ]
 * const same = parseTrials('a.wav b.wav target\na.wav c.wav nontarget\n');
 * console.log(same.genuine); // Uint8Array(2) [ 1, 0 ]
 */
export function parseTrials(text: string): TrialList {
  if (typeof text !== 'string') {
    throw invalidArgument('parseTrials', 'text', 'a string', text);
  }
  const collector = collectTrials('parseTrials', 'text', LISTS);
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    collector.addLine(text.slice(start, end));
    start = end + 1;
  }
  return collector.finish();
}

/** Where the three fields of a line stand, and what the label may be. */
interface ListForm {
  readonly label: 0 | 2;
  readonly enrolment: 0 | 1;
  readonly test: 1 | 2;
  readonly genuine: string;
  readonly impostor: string;
  /** For messages. */
  readonly shown: string;
}

const VOXCELEB: ListForm = {
  label: 0,
  enrolment: 1,
  test: 2,
  genuine: '1',
  impostor: '0',
  shown: "'label enrolment test' with label 0 or 1",
};

const KALDI: ListForm = {
  label: 2,
  enrolment: 0,
  test: 1,
  genuine: 'target',
  impostor: 'nontarget',
  shown: "'enrolment test label' with label target or nontarget",
};

/** Forms of trial lists. Kaldi's first: its labels are names in another list more rarely than 1 and 0. */
export const LISTS = [KALDI, VOXCELEB] as const;

/** The form of IJB's pairs. */
export const IJB: ListForm = {
  label: 2,
  enrolment: 0,
  test: 1,
  genuine: '1',
  impostor: '0',
  shown: "'enrolment test label' with label 0 or 1",
};

function fits(fields: readonly string[], form: ListForm): boolean {
  const label = fields[form.label];
  return (
    fields.length === 3 && (label === form.genuine || label === form.impostor)
  );
}

/**
 * Collects trials line by line, so that a file need not be held as one string.
 *
 * @param forms Which the list may have; the first that fits the first trial is its form.
 */
export function collectTrials(
  functionName: string,
  source: string,
  forms: readonly ListForm[],
) {
  /** The form of the first trial, which all others must have. */
  let form: ListForm | undefined;
  let formLine = 0;
  const genuine: number[] = [];
  const enrolment: number[] = [];
  const test: number[] = [];
  const positions = new Map<string, number>();
  let lines = 0;
  const positionOf = (name: string): number => {
    const known = positions.get(name);
    if (known !== undefined) return known;
    // A copy: the name is a view of its line, and would keep all text alive.
    positions.set(Buffer.from(name).toString(), positions.size);
    return positions.size - 1;
  };
  return {
    /** Takes the next line, without its end; trim() removes `\r` and the mark. */
    addLine(line: string): void {
      lines += 1;
      const trimmed = line.trim();
      if (trimmed === '') return;
      const fields = trimmed.split(/[ \t]+/);
      form ??= forms.find((candidate) => fits(fields, candidate));
      if (form === undefined || !fits(fields, form)) {
        throw invalidArgument(
          functionName,
          `line ${lines} of ${source}`,
          form === undefined
            ? forms.map(({ shown }) => shown).join(', or ')
            : `${form.shown}, as line ${formLine}`,
          trimmed,
        );
      }
      if (genuine.length === 0) formLine = lines;
      genuine.push(fields[form.label] === form.genuine ? 1 : 0);
      enrolment.push(positionOf(fields[form.enrolment]!));
      test.push(positionOf(fields[form.test]!));
    },
    /** The list of all lines taken. */
    finish(): TrialList {
      if (genuine.length === 0) {
        throw new AlphaMarginError(
          'ERR_INVALID_ARGUMENT',
          `${functionName}: expected ${source} to hold at least one trial but received ${lines} lines without one`,
        );
      }
      return {
        genuine: Uint8Array.from(genuine),
        enrolment: Int32Array.from(enrolment),
        test: Int32Array.from(test),
        names: [...positions.keys()],
      };
    },
  };
}
