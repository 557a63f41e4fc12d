import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { summarize } from '../verification/summarize.js';
import type { ReportSystem } from '../verification/verification-report.js';
import { readResults } from './saved-results.js';

/**
 * The systems of this run and of earlier ones, each under a name of its own: where an
 * earlier one's is taken, its file's name is added. What an earlier run measured
 * alike under the same name (mostly the embeddings as they are) is shown once.
 */
export async function withCompared(
  own: readonly ReportSystem[],
  files: readonly string[],
): Promise<ReportSystem[]> {
  const systems = [...own];
  for (const file of files) {
    for (const system of await readResults(file)) {
      const same = systems.find(({ name }) => name === system.name);
      if (same !== undefined && measuresAlike(same, system)) continue;
      systems.push({ ...system, name: freeName(system.name, file, systems) });
    }
  }
  return systems;
}

/** What to say of systems that were not measured on the trials of the first. */
export function otherTrials(systems: readonly ReportSystem[]): string[] {
  const [first] = systems;
  return systems
    .filter(
      ({ scores }) =>
        scores.genuinePairs !== first!.scores.genuinePairs ||
        scores.impostorPairs !== first!.scores.impostorPairs,
    )
    .map(
      ({ name, scores }) =>
        `${name} was measured on other trials: ${scores.genuinePairs} genuine and ` +
        `${scores.impostorPairs} impostor pairs`,
    );
}

function measuresAlike(one: ReportSystem, other: ReportSystem): boolean {
  return isDeepStrictEqual(summarize(one.scores), summarize(other.scores));
}

function freeName(
  name: string,
  file: string,
  systems: readonly ReportSystem[],
): string {
  const taken = new Set(systems.map((system) => system.name));
  const numbered = (_: unknown, index: number) =>
    `${name} (${file}, ${index + 2})`;
  return [
    name,
    `${name} (${path.basename(file, '.json')})`,
    `${name} (${file})`,
    ...Array.from(systems, numbered),
  ].find((candidate) => !taken.has(candidate))!;
}
