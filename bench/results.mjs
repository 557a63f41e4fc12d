import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const RESULTS = fileURLToPath(new URL('results', import.meta.url));

/** Where the results of a part on this processor are kept. */
export function resultsFile(directory, part, environment) {
  const { device, cores, instructionSet } = environment;
  const processor = `${device}-${cores}-${instructionSet}`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-');
  return path.join(directory, `${part}-${processor}.json`);
}

/** Writes a run; a list of numbers is one line, or a file would be all timings. */
export function writeResults(file, run) {
  const text = JSON.stringify(run, null, 2).replace(
    /\[\s+(-?\d[^[\]{}"]*?)\s+\]/g,
    (_, numbers) => `[${numbers.replace(/\s+/g, ' ')}]`,
  );
  mkdirSync(path.dirname(file), { recursive: true });
  // A run that is stopped leaves the last complete row behind, never half a file.
  writeFileSync(`${file}.part`, `${text}\n`);
  renameSync(`${file}.part`, file);
}

/** A run that was written, or undefined. */
export function readResults(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw new Error(`${file} cannot be read: ${error.message}`);
  }
}
