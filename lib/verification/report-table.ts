import { escapeHtml, percent, scrollingTable } from './html.js';
import type { VerificationSummary } from './summarize.js';

/** A column of the table of metrics. */
export interface ReportColumn {
  readonly name: string;
  readonly summary: VerificationSummary;
}

/** A row of the table of metrics. */
interface MetricRow {
  readonly heading: string;
  /** One value for each system; null where the trials cannot support one. */
  readonly values: readonly (number | null)[];
  readonly format: (value: number) => string;
  /** Whether the best value is the largest or the smallest; absent: none is. */
  readonly best?: 'largest' | 'smallest';
}

/** Table of all metrics: a row for each, a column for each system. */
export function metricsTable(columns: readonly ReportColumn[]): string {
  const heads = columns.map(
    ({ name }) => `<th scope="col">${escapeHtml(name)}</th>`,
  );
  const several = columns.length > 1;
  const rows = metricRows(columns.map(({ summary }) => summary)).map(
    (row) =>
      `<tr><th scope="row">${row.heading}</th>${cells(row, several).join('')}</tr>`,
  );
  const content = `<thead><tr><th scope="col">Metric</th>${heads.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>`;
  return `${scrollingTable('Metrics', content)}
<p class="legend">${legend(columns, several)}</p>`;
}

function metricRows(summaries: readonly VerificationSummary[]): MetricRow[] {
  const row = (
    heading: string,
    format: MetricRow['format'],
    best: 'largest' | 'smallest',
    read: (summary: VerificationSummary) => number | null,
  ): MetricRow => ({ heading, format, best, values: summaries.map(read) });
  const [first] = summaries;
  return [
    row('EER', percent, 'smallest', ({ eer }) => eer.rate),
    ...first!.minDcf.map(({ pTarget }, index) =>
      row(
        `minDCF (p = ${pTarget})`,
        (cost) => cost.toFixed(4),
        'smallest',
        ({ minDcf }) => minDcf[index]!.cost,
      ),
    ),
    ...first!.tarAtFar.map(({ far }, index) =>
      row(
        `TAR at FAR ${far.toExponential()}`,
        percent,
        'largest',
        ({ tarAtFar }) => tarAtFar[index]!.tar,
      ),
    ),
    ...(['genuinePairs', 'impostorPairs'] as const).map((kind) => ({
      heading: kind === 'genuinePairs' ? 'Genuine pairs' : 'Impostor pairs',
      format: (pairs: number) => pairs.toLocaleString('en'),
      values: summaries.map((summary) => summary[kind]),
    })),
  ];
}

function cells({ values, format, best }: MetricRow, several: boolean) {
  const texts = values.map((value) => (value === null ? null : format(value)));
  const known = values.filter((value) => value !== null);
  const winner =
    several && best !== undefined && known.length > 1
      ? format(best === 'largest' ? Math.max(...known) : Math.min(...known))
      : undefined;
  // Equality of what is shown: two systems that read the same are both best.
  return texts.map((text) => {
    if (text === null) return '<td class="none">too few impostor pairs</td>';
    return text === winner
      ? `<td><strong>${text}</strong></td>`
      : `<td>${text}</td>`;
  });
}

function legend(columns: readonly ReportColumn[], several: boolean): string {
  const coarsest = Math.max(
    ...columns.map(({ summary }) => summary.resolution),
  );
  return [
    'A trial is accepted when its score reaches the threshold.',
    'TAR at FAR: the largest share of genuine pairs accepted while at most that share of impostor pairs is.',
    'EER: where false accepts and false rejects are equally frequent.',
    'minDCF: least detection cost with unit costs, 1 for the better constant decision.',
    ...(coarsest > 0
      ? [`Thresholds were resolved to ${coarsest.toExponential(1)}.`]
      : []),
    ...(several ? ['The best value of a row is bold.'] : []),
  ].join(' ');
}
