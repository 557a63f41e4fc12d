import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** The scores of one of several systems under comparison. */
export interface NamedScores {
  /** Shown in legends and tables; not empty, and different for each system. */
  readonly name: string;
  /** Its scores, with at least one genuine and one impostor pair. */
  readonly scores: TrialScores;
}

/** A checked system, with what a report may show of its training, unchecked. */
export interface ReadSystem extends NamedScores {
  readonly training: unknown;
}

/**
 * Reads one system (its scores alone will do) or several. Plots take the systems of a report, too,
 * and leave the training out.
 */
export function readSystems(
  functionName: string,
  systems: TrialScores | readonly NamedScores[],
): ReadSystem[] {
  if (!Array.isArray(systems)) {
    const scores = checkBothKinds(functionName, 'systems', systems);
    return [{ name: 'system', scores, training: undefined }];
  }
  if (systems.length === 0) {
    throw invalidArgument(
      functionName,
      'systems',
      'at least one system',
      systems,
    );
  }
  const seen = new Set<string>();
  return Array.from(systems as readonly unknown[], (item, index) => {
    const system = readOptions<ReadSystem>(
      functionName,
      item,
      ['name', 'scores', 'training'],
      `systems[${index}]`,
    );
    const given: unknown = system.name;
    const name = typeof given === 'string' ? printable(given) : given;
    if (typeof name !== 'string' || name.trim() === '' || seen.has(name)) {
      throw invalidArgument(
        functionName,
        `systems[${index}].name`,
        'a string that is not empty and no system before it has',
        name,
      );
    }
    seen.add(name);
    const scores = checkBothKinds(
      functionName,
      `systems[${index}].scores`,
      system.scores,
    );
    return { name, scores, training: system.training };
  });
}

/** Control characters are not allowed in XML, not even escaped. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
  return text.replaceAll(/[\u0000-\u001f\u007f\ufffe\uffff]/g, ' ');
}
