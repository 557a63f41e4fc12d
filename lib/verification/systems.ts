import { invalidArgument } from '../errors.js';
import { checkBothKinds } from './checks.js';
import type { TrialScores } from './trial-scores.js';

/** The scores of one of several systems under comparison. */
export interface NamedScores {
  /** Shown in legends and tables; not empty, and different for each system. */
  readonly name: string;
  /** Its scores, with at least one genuine and one impostor pair. */
  readonly scores: TrialScores;
}

/** Reads one system (its scores alone will do) or several. */
export function readSystems(
  functionName: string,
  systems: TrialScores | readonly NamedScores[],
): NamedScores[] {
  if (!Array.isArray(systems)) {
    const scores = checkBothKinds(functionName, 'systems', systems);
    return [{ name: 'system', scores }];
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
    const system: Partial<NamedScores> = Object(item);
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
    return { name, scores };
  });
}

/** Control characters are not allowed in XML, not even escaped. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
  return text.replaceAll(/[\u0000-\u001f\u007f\ufffe\uffff]/g, ' ');
}
