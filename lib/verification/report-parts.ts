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

/** Style of the report: no fonts or images from elsewhere, light and dark. */
export const REPORT_STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --ground: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa4af; --line: #343b44; --ground: #14181d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; max-width: 44rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .125rem 1rem; margin: 0 0 1rem; font-size: .9375rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: 1.25rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
th, td { padding: .375rem .625rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
thead th { vertical-align: bottom; border-bottom-width: 2px; min-width: 6rem; max-width: 12rem; overflow-wrap: break-word; }
tbody th { white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; position: sticky; left: 0; background: var(--ground); }
td.none { color: var(--soft); font-size: .8125rem; white-space: nowrap; }
.legend { color: var(--soft); font-size: .875rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; margin-top: 1.5rem; align-items: start; }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
`;

/** Escapes text for HTML content and attributes. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
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
  return `<div class="table"><table>
<thead><tr><th scope="col">Metric</th>${heads.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table></div>
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

function percent(rate: number): string {
  return `${(100 * rate).toFixed(2)} %`;
}
