import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { escapeHtml } from './html.js';
import {
  curveSection,
  histogramSection,
  trainingSection,
} from './report-sections.js';
import { REPORT_STYLE } from './report-style.js';
import { metricsTable } from './report-table.js';
import { summarize } from './summarize.js';
import { type NamedScores, readSystems } from './systems.js';
import { thresholdChooser } from './threshold-chooser.js';
import { readTrainingEpochs, type TrainingEpoch } from './training-history.js';

/** A system of a report. */
export interface ReportSystem extends NamedScores {
  /** How it was trained, epoch by epoch, to be plotted. Default not shown. */
  readonly training?: readonly TrainingEpoch[] | undefined;
}

/** What {@link verificationReport} shows. */
export interface VerificationReportOptions {
  /** Heading of the page. */
  readonly title: string;
  /** The systems to compare, in the order of the table's columns. */
  readonly systems: readonly ReportSystem[];
  /** Paragraphs of plain text below the heading. Default none. */
  readonly notes?: string | readonly string[] | undefined;
  /** Facts shown as a list of names and values. Default none. */
  readonly details?: Readonly<Record<string, string | number>> | undefined;
}

/**
 * A report on one or several systems as one HTML page: TAR at FAR, EER and minDCF
 * in a table, a chooser of thresholds, DET and ROC plots, histograms of the scores,
 * and support size and loss of the training where its history is given. The page
 * loads nothing else, fits a phone, and follows the reader's choice of light or dark.
 *
 * The chooser gives, for a false accept rate f from 1e-6 to 0.5, the threshold of
 * {@link tarAtFar} at f, TAR there, and the false accepts to expect of a million
 * impostor trials, 10⁶ · FAR(threshold). It needs scripts; the rest does not.
 *
 * @param options Title, systems, and optional notes and details; all text is
 *   escaped.
 * @returns The HTML document.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an option is unknown or has the wrong type,
 *   names are not different, a system lacks genuine or impostor pairs, or a number of
 *   a training is not finite.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { trialScoresFrom, verificationReport } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * const html = await verificationReport({
 *   title: 'Three pairs',
 *   systems: [{ name: 'by hand', scores }],
 * });
 * writeFileSync('/tmp/report.html', html);
 */
export async function verificationReport(
  options: VerificationReportOptions,
): Promise<string> {
  const {
    title,
    notes = [],
    details = {},
    systems: given,
  } = readOptions<VerificationReportOptions>('verificationReport', options, [
    'title',
    'systems',
    'notes',
    'details',
  ]);
  if (typeof title !== 'string') {
    throw invalidArgument('verificationReport', 'title', 'a string', title);
  }
  const paragraphs = typeof notes === 'string' ? [notes] : notes;
  if (
    !Array.isArray(paragraphs) ||
    // Not `every`, which passes over holes.
    paragraphs.findIndex((note) => typeof note !== 'string') !== -1
  ) {
    throw invalidArgument(
      'verificationReport',
      'notes',
      'a string or an array of strings',
      notes,
    );
  }
  if (!Array.isArray(given)) {
    throw invalidArgument(
      'verificationReport',
      'systems',
      'an array of { name, scores }',
      given,
    );
  }
  const systems = readSystems('verificationReport', given);
  const trainings = systems.flatMap(({ name, training }, place) => {
    if (training === undefined) return [];
    const argument = `systems[${place}].training`;
    const epochs = readTrainingEpochs('verificationReport', argument, training);
    return epochs.length === 0 ? [] : [{ name, place, epochs }];
  });
  if (
    typeof details !== 'object' ||
    details === null ||
    Array.isArray(details)
  ) {
    throw invalidArgument(
      'verificationReport',
      'details',
      'an object of strings and numbers',
      details,
    );
  }
  const rows = Object.entries(details).map(([name, value]) => {
    if (typeof value === 'object' || typeof value === 'function') {
      const expected = 'a string or a number';
      throw invalidArgument(
        'verificationReport',
        `details.${name}`,
        expected,
        value,
      );
    }
    return `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${paragraphs.map((note) => `<p>${escapeHtml(note)}</p>`).join('\n')}
${rows.length > 0 ? `<dl>${rows.join('\n')}</dl>` : ''}
${metricsTable(systems.map(({ name, scores }) => ({ name, summary: summarize(scores) })))}
${thresholdChooser(systems)}
${await curveSection(systems)}
${await histogramSection(systems)}
${await trainingSection(trainings)}
</main>
</body>
</html>
`;
}
