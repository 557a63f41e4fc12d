// Results as markdown: for the terminal and for docs/performance.md.
import { pairedRatio } from './statistics.mjs';

export const NOTHING = '–';

const wholeNumber = new Intl.NumberFormat('en-US', {
  maximumFractionDigits: 0,
});

export const count = (value) => wholeNumber.format(value);

export function milliseconds(seconds) {
  const value = seconds * 1e3;
  return value >= 100 ? count(value) : value.toPrecision(3);
}

export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

export const percent = (share) => `${(100 * share).toFixed(0)} %`;

export const sizes = ({ batch, identities, dim }) =>
  `${batch} × ${count(identities)} × ${dim}`;

/** GFLOP/s of the logits alone, 2·B·C·D. */
export function gigaflops({ setting, contenders }, name) {
  const { batch, identities, dim } = setting;
  const seconds = contenders[name].time.median;
  return (2 * batch * identities * dim) / seconds / 1e9;
}

/** Whether a contender was measured: a peer may be missing, and anything may fail. */
export function isMeasured({ contenders }, ...names) {
  return names.every((name) => contenders[name]?.time !== undefined);
}

/** Time of one contender over another's, with its spread; undefined when one was not measured. */
export function ratio(result, name, baseline) {
  if (!isMeasured(result, name, baseline)) return undefined;
  const { contenders } = result;
  return pairedRatio(
    contenders[name].time.seconds,
    contenders[baseline].time.seconds,
  );
}

/** A column that shows something of a contender, or nothing when it was not measured. */
export function of(name, title, show) {
  return [
    title,
    (result) =>
      isMeasured(result, name)
        ? show(result.contenders[name], result)
        : NOTHING,
  ];
}

export const timeColumns = (name, title) => [
  of(name, `${title}, ms`, ({ time }) => milliseconds(time.median)),
  of(
    name,
    'min – max',
    ({ time }) => `${milliseconds(time.min)} – ${milliseconds(time.max)}`,
  ),
];

/** Quartiles, not extremes: one disturbed pair of many would make a range of its own. */
export function ratioColumn(name, baseline, title) {
  return [
    title,
    (result) => {
      const pairs = ratio(result, name, baseline);
      return pairs === undefined
        ? NOTHING
        : `${pairs.median.toFixed(2)} ± ${(pairs.interquartileRange / 2).toFixed(2)}`;
    },
  ];
}

export const settingColumns = [
  ['setting', ({ name }) => name],
  ['B × C × D', ({ setting }) => sizes(setting)],
  ['prototypes', ({ setting }) => setting.prototypes],
];

/** One row for each result, columns padded so that the source reads as a table too. */
export function markdownTable(columns, rows, textColumns = 3) {
  const cells = [
    columns.map(([title]) => title),
    ...rows.map((row) => columns.map(([, cell]) => cell(row))),
  ];
  const widths = columns.map((_, column) =>
    Math.max(...cells.map((row) => row[column].length)),
  );
  const line = (row) =>
    `| ${row
      .map((cell, column) =>
        column < textColumns
          ? cell.padEnd(widths[column])
          : cell.padStart(widths[column]),
      )
      .join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column < textColumns ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(cells[0]), line(rule), ...cells.slice(1).map(line)].join('\n');
}

/** What was not measured, and why: a line each. */
export function problems(results) {
  const lines = results.flatMap(({ name, contenders }) =>
    Object.entries(contenders).flatMap(([contender, { error, missing }]) => {
      if (error !== undefined) return [`${name}: ${contender}: ${error}`];
      if (missing !== undefined) {
        return [`${contender} is not installed: ${missing}`];
      }
      return [];
    }),
  );
  return [...new Set(lines)];
}

/** Where and with what the figures were taken, in a sentence. */
export function environmentLine({ environment, results }) {
  const { device, cores, instructionSet, node, commit, date, loadAverage } =
    environment;
  const peers = new Set(
    results.flatMap(({ contenders }) =>
      Object.values(contenders).flatMap(({ version, core }) =>
        // Ours is named by its commit.
        version === undefined || version.startsWith('alphamargin')
          ? []
          : [core ? `OpenBLAS ${version.split(' ')[1]} (${core})` : version],
      ),
    ),
  );
  const threads = [...new Set(results.map((result) => result.threads))];
  const changed = commit.endsWith('-dirty') ? ' with changes' : '';
  return (
    `${device}, ${cores} cores, threads: ${threads.join(', ')}; ` +
    `${[`${instructionSet} kernels`, `Node ${node}`, ...peers].join(', ')}; ` +
    `commit ${commit.slice(0, 12)}${changed}, ${date.slice(0, 10)}, ` +
    `load average before the run ${loadAverage[0]}.`
  );
}
