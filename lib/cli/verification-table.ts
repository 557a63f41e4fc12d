import type { VerificationSummary } from '../verification/summarize.js';
import { align } from './align.js';

/** A system and its metrics. */
export interface SystemSummary {
  readonly name: string;
  readonly summary: VerificationSummary;
}

/** Cell of a rate that the set is too small to measure. */
const TOO_FEW = 'too few';

/**
 * A table for terminals, one system a row: TAR at each FAR, EER, minDCF.
 *
 * @param systems At least one, all measured on the same trials.
 * @param rates False accept rates to show; all that were measured unless given.
 */
export function verificationTable(
  systems: readonly SystemSummary[],
  rates?: readonly number[],
): string {
  const [first] = systems;
  if (first === undefined) return '';
  const { genuinePairs, impostorPairs, tarAtFar, minDcf } = first.summary;
  const shown = tarAtFar
    .map(({ far }, index) => ({ far, index }))
    .filter(({ far }) => rates === undefined || rates.includes(far));
  const header = [
    '',
    ...shown.map(({ far }) => `@${far.toExponential(0)}`),
    'EER',
    ...minDcf.map(({ pTarget }) => `minDCF ${pTarget}`),
  ];
  const rows = systems.map(({ name, summary }) => [
    name,
    ...shown.map(({ index }) => {
      const tar = summary.tarAtFar[index]?.tar ?? null;
      return tar === null ? TOO_FEW : tar.toFixed(4);
    }),
    summary.eer.rate.toFixed(4),
    ...summary.minDcf.map(({ cost }) => cost.toFixed(4)),
  ]);
  const lines = [
    `TAR@FAR over ${genuinePairs} genuine and ${impostorPairs} impostor pairs`,
    ...align([header, ...rows]),
  ];
  if (rows.some((row) => row.includes(TOO_FEW))) {
    lines.push(
      `${TOO_FEW}: too few impostor pairs; that rate would not allow a single false accept`,
    );
  }
  return lines.join('\n');
}
