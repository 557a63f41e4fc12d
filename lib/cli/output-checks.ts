/*
 * An output replaces the file at its path. So none may be an input, nor another output, by whatever
 * name: another spelling of the path, a symbolic link, a hard link.
 */
import { readlinkSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { readScp } from '../io/kaldi-scp.js';
import { UsageError } from './usage.js';

/** A file of a command line. */
export interface NamedFile {
  /** Option that names it. */
  readonly option: string;
  readonly file: string;
}

/** Options whose files may be Kaldi scripts. */
const EMBEDDINGS = ['embeddings', 'cohort'];

/** Most links that one path leads through, as in Linux. */
const MOST_LINKS = 40;

/** The files that options name, of those that were given. */
export function filesOf(
  options: Readonly<Record<string, undefined | string | readonly string[]>>,
): NamedFile[] {
  return Object.entries(options).flatMap(([option, files = []]) =>
    [files].flat().map((file) => ({ option, file })),
  );
}

/**
 * Refuses outputs that are an input or another output, before anything is written. Archives that a
 * Kaldi script names are inputs, too.
 *
 * @throws UsageError naming both.
 */
export async function checkOutputs(
  outputs: readonly NamedFile[],
  inputs: readonly NamedFile[],
): Promise<void> {
  const outputAt = new Map<string, NamedFile>();
  for (const output of outputs) {
    if (output.file === '') {
      throw new UsageError(`--${output.option} needs the name of a file`);
    }
    const place = placeOf(output.file);
    const other = outputAt.get(place);
    if (other !== undefined) throw replaced(output, shown(other));
    outputAt.set(place, output);
  }
  for (const input of inputs) {
    const output = outputAt.get(placeOf(input.file));
    if (output !== undefined) throw replaced(output, shown(input));
  }
  // Scripts may be long, and a file that is not there yet is none of their archives.
  if (!outputs.some(({ file }) => isFile(file))) return;
  for (const input of inputs) {
    if (!EMBEDDINGS.includes(input.option) || !input.file.endsWith('.scp')) {
      continue;
    }
    for (const archive of (await readScp(input.file)).paths) {
      const output = outputAt.get(placeOf(archive));
      if (output === undefined) continue;
      throw replaced(output, `${archive}, which ${shown(input)} names`);
    }
  }
}

/** Whether a path leads to a regular file. */
export function isFile(file: string): boolean {
  return statusOf(file)?.isFile() ?? false;
}

function shown({ option, file }: NamedFile): string {
  return `--${option} ${file}`;
}

function replaced(output: NamedFile, other: string): UsageError {
  return new UsageError(
    `${shown(output)} would replace ${other}: both are one file`,
  );
}

/** The same text for all names of a file: device and inode, or the path at which it would be made. */
function placeOf(file: string): string {
  const status = statusOf(file);
  return status === undefined
    ? newPlaceOf(path.resolve(file), MOST_LINKS)
    : `${status.dev}:${status.ino}`;
}

function statusOf(file: string) {
  try {
    // Whole inodes: some file systems have numbers beyond 2^53.
    return statSync(file, { bigint: true });
  } catch {
    return undefined; // who reads or writes it says why
  }
}

/** Follows links to nothing: another output may be what they lead to, by the time of writing. */
function newPlaceOf(file: string, links: number): string {
  const folder = path.dirname(file);
  const target = attempt(() => readlinkSync(file));
  if (target !== undefined && links > 0) {
    return newPlaceOf(path.resolve(folder, target), links - 1);
  }
  return path.join(
    attempt(() => realpathSync(folder)) ?? folder,
    path.basename(file),
  );
}

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
