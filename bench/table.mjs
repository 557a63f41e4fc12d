// Results as a markdown table: for the terminal and for docs/performance.md.

const count = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

function milliseconds(seconds) {
  const value = seconds * 1e3;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

const COLUMNS = [
  ['setting', ({ name }) => name],
  [
    'B × C × D',
    ({ setting: { batch, identities, dim } }) =>
      `${batch} × ${count.format(identities)} × ${dim}`,
  ],
  ['step, ms', ({ head }) => milliseconds(head.time.median)],
  [
    'min – max',
    ({ head: { time } }) =>
      `${milliseconds(time.min)} – ${milliseconds(time.max)}`,
  ],
  ['GFLOP/s', ({ head }) => head.gigaflops.toFixed(0)],
  ['sgemm, ms', ({ sgemm }) => (sgemm ? milliseconds(sgemm.time.median) : '–')],
  ['step / sgemm', ({ ratio }) => (ratio ? ratio.toFixed(2) : '–')],
  [
    'survivors',
    // Softmax keeps every class: nothing is filtered.
    ({ setting, head }) =>
      setting.alpha > 1 ? count.format(head.perRow.survivors) : '–',
  ],
  ['support', ({ head }) => count.format(head.perRow.support)],
  ['scratch, MB', ({ head }) => megabytes(head.memory.scratchBytes)],
  [
    'peak beyond state, MB',
    ({ head }) => megabytes(head.memory.peakBeyondStateBytes),
  ],
  ['limit, MB', ({ head }) => megabytes(head.memory.limitBytes)],
];

/** One row for each result, columns padded so that the source reads as a table too. */
export function resultTable(results) {
  const cells = [
    COLUMNS.map(([title]) => title),
    ...results.map((result) => COLUMNS.map(([, cell]) => cell(result))),
  ];
  const widths = COLUMNS.map((_, column) =>
    Math.max(...cells.map((row) => row[column].length)),
  );
  const line = (row) =>
    `| ${row
      .map((cell, column) =>
        column < 2
          ? cell.padEnd(widths[column])
          : cell.padStart(widths[column]),
      )
      .join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(cells[0]), line(rule), ...cells.slice(1).map(line)].join('\n');
}

/** Where the figures were taken, in a sentence. */
export function environmentLine({ environment, results }) {
  const { device, cores, instructionSet, node, commit, date, loadAverage } =
    environment;
  const library = results.find(({ sgemm }) => sgemm)?.sgemm.config;
  return (
    `${device}, ${cores} cores, ${results[0].head.threads} threads, ` +
    `${instructionSet} kernels, Node ${node}` +
    (library ? `, ${library.split(' ').slice(0, 2).join(' ')}` : '') +
    `; commit ${commit.slice(0, 12)}${commit.endsWith('-dirty') ? ' with changes' : ''}, ` +
    `${date.slice(0, 10)}, load average before the run ${loadAverage[0]}.`
  );
}
