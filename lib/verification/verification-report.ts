import { invalidArgument } from '../errors.js';
import { detPlot } from './det-plot.js';
import { escapeHtml, metricsTable, REPORT_STYLE } from './report-parts.js';
import { rocPlot } from './roc-plot.js';
import { summarize } from './summarize.js';
import { type NamedScores, readSystems } from './systems.js';

/** What {@link verificationReport} shows. */
export interface VerificationReportOptions {
  /** Heading of the page. */
  readonly title: string;
  /** The systems to compare, in the order of the table's columns. */
  readonly systems: readonly NamedScores[];
  /** Paragraphs of plain text below the heading. Default none. */
  readonly notes?: string | readonly string[];
  /** Facts shown as a list of names and values. Default none. */
  readonly details?: Readonly<Record<string, string | number>>;
}

/**
 * A report on one or several systems as one HTML page: TAR at FAR, EER and minDCF
 * in a table, DET and ROC plots inline. The page loads nothing else, fits a
 * phone, and follows the reader's choice of light or dark.
 *
 * @param options Title, systems, and optional notes and details; all text is
 *   escaped.
 * @returns The HTML document.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an option has the wrong type,
 *   names are not different, or a system lacks genuine or impostor pairs.
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
  const { title, notes = [], details = {}, ...rest } = options ?? {};
  if (typeof title !== 'string') {
    throw invalidArgument('verificationReport', 'title', 'a string', title);
  }
  const paragraphs = typeof notes === 'string' ? [notes] : notes;
  if (
    !Array.isArray(paragraphs) ||
    !paragraphs.every((note) => typeof note === 'string')
  ) {
    throw invalidArgument(
      'verificationReport',
      'notes',
      'a string or an array of strings',
      notes,
    );
  }
  if (!Array.isArray(rest.systems)) {
    throw invalidArgument(
      'verificationReport',
      'systems',
      'an array of { name, scores }',
      rest.systems,
    );
  }
  const systems = readSystems('verificationReport', rest.systems);
  // Small enough that a phone hardly shrinks the labels.
  const look = { theme: 'page', width: 330, height: 330 } as const;
  const plots = [
    await detPlot(systems, { ...look, title: 'Detection error tradeoff' }),
    await rocPlot(systems, {
      ...look,
      title: 'Receiver operating characteristic',
    }),
  ];
  const rows = Object.entries(details ?? {}).map(
    ([name, value]) =>
      `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(String(value))}</dd>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${REPORT_STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${paragraphs.map((note) => `<p>${escapeHtml(note)}</p>`).join('\n')}
${rows.length > 0 ? `<dl>${rows.join('\n')}</dl>` : ''}
${metricsTable(systems.map(({ name, scores }) => ({ name, summary: summarize(scores) })))}
<div class="plots">
${plots.map((svg) => `<figure>${svg}</figure>`).join('\n')}
</div>
</main>
</body>
</html>
`;
}
