import { invalidArgument } from '../errors.js';
import { filePath } from './file-path.js';
import { readTextLines } from './text-lines.js';

/** The lines of a Kaldi script file: where the vector of each utterance lies. */
export interface ScpEntries {
  /** [N], the utterances in the order of the file. */
  readonly names: readonly string[];
  /** The distinct archives. */
  readonly paths: readonly string[];
  /** [N], position in `paths`. */
  readonly file: Int32Array;
  /** [N], byte at which the vector begins, behind its name. */
  readonly offset: Float64Array;
}

/**
 * Reads a Kaldi script file: lines `name path:offset`, or `name path` for a file that holds one
 * vector and no name. Memory grows with the names only.
 *
 * @param path The script file (`.scp`). Archives it names are relative to the working directory,
 *   as in Kaldi.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the line that has another form: a
 *   command (`… |`; none is run) or a range (`[0:9]`) cannot be read, and a file without any
 *   entry is refused; `ERR_CHECKPOINT` when the file cannot be read.
 * @example
 * const { names, paths } = await readScp('xvector.scp');
 */
export async function readScp(path: string | URL): Promise<ScpEntries> {
  const source = filePath('readScp', path);
  const names: string[] = [];
  const positions = new Map<string, number>();
  const file: number[] = [];
  const offset: number[] = [];
  let lines = 0;
  for await (const line of readTextLines(source)) {
    lines += 1;
    const trimmed = line.trim();
    if (trimmed === '') continue;
    const [, name, archive, digits = '0'] =
      /^(\S+)\s+([^|\0]*?)(?::(\d+))?$/.exec(trimmed) ?? [];
    const at = Number(digits);
    if (
      name === undefined ||
      !archive ||
      archive.endsWith(']') ||
      !Number.isSafeInteger(at)
    ) {
      throw invalidArgument(
        'readScp',
        `line ${lines} of ${source}`,
        "'name path:offset' (commands and ranges cannot be read)",
        trimmed,
      );
    }
    let index = positions.get(archive);
    if (index === undefined) {
      index = positions.size;
      positions.set(archive, index);
    }
    names.push(name);
    file.push(index);
    offset.push(at);
  }
  if (names.length === 0) {
    throw invalidArgument('readScp', source, "lines 'name path:offset'", lines);
  }
  return {
    names,
    paths: [...positions.keys()],
    file: Int32Array.from(file),
    offset: Float64Array.from(offset),
  };
}
