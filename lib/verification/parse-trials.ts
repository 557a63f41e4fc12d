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
  readonly names?: readonly string[];
}

/**
 * Reads a trial list from text, in the form VoxCeleb's lists have:
 *
 *     1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav
 *     0 id10270/x6uYqmx31kE/00001.wav id10300/ize_eiCFEg0/00003.wav
 *
 * One trial a line: label (1 one identity, 0 two), enrolment, test, separated by
 * spaces or tabs. Blank lines, CRLF and a byte order mark are tolerated; names
 * cannot hold spaces. {@link readTrials} reads a file without holding its text.
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
 */
export function parseTrials(text: string): TrialList {
  if (typeof text !== 'string') {
    throw invalidArgument('parseTrials', 'text', 'a string', text);
  }
  const collector = collectTrials('parseTrials', 'text');
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    collector.addLine(text.slice(start, end));
    start = end + 1;
  }
  return collector.finish();
}

/** Where the fields of a line stand in lists with the label first, as VoxCeleb's. */
export const LABEL_FIRST = {
  label: 0,
  enrolment: 1,
  test: 2,
  shown: "'label enrolment test'",
} as const;
/** The same with the label last, as IJB's. */
export const LABEL_LAST = {
  label: 2,
  enrolment: 0,
  test: 1,
  shown: "'enrolment test label'",
} as const;

/** Collects trials line by line, so that a file need not be held as one string. */
export function collectTrials(
  functionName: string,
  source: string,
  form: typeof LABEL_FIRST | typeof LABEL_LAST = LABEL_FIRST,
) {
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
      const label = fields[form.label];
      if (fields.length !== 3 || (label !== '0' && label !== '1')) {
        throw invalidArgument(
          functionName,
          `line ${lines} of ${source}`,
          `${form.shown} with label 0 or 1`,
          trimmed,
        );
      }
      genuine.push(label === '1' ? 1 : 0);
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
