// The parts `head` and `forward`: one operation of the head next to the library product that would
// only make the logits.
import { head, sgemm } from '../contenders.mjs';
import { QUICK_SETTINGS, SETTINGS } from '../settings.mjs';
import {
  count,
  gigaflops,
  isMeasured,
  markdownTable,
  megabytes,
  NOTHING,
  of,
  percent,
  ratioColumn,
  settingColumns,
  timeColumns,
} from '../table.mjs';

function shareOfPeak(operation) {
  return of(operation, 'of peak', (_, result) =>
    result.machine === undefined
      ? NOTHING
      : percent(gigaflops(result, operation) / result.machine.gigaflops),
  );
}

/** Softmax makes three products of this size in a step; α > 1 has no use for them. */
export function gemmRate(result) {
  if (result.setting.alpha > 1 || !isMeasured(result, 'step', 'sgemm')) {
    return undefined;
  }
  return (3 * gigaflops(result, 'step')) / gigaflops(result, 'sgemm');
}

const timeTable = (operation) => [
  ...settingColumns,
  ...timeColumns(operation, operation),
  of(operation, 'GFLOP/s', (_, result) => count(gigaflops(result, operation))),
  shareOfPeak(operation),
  ...timeColumns('sgemm', 'sgemm').slice(0, 1),
  ratioColumn(operation, 'sgemm', `${operation} / sgemm`),
];

const counters = (operation) => [
  // Softmax keeps every class: nothing is filtered.
  of(operation, 'survivors', ({ survivorsPerRow }, { setting }) =>
    setting.alpha > 1 ? count(survivorsPerRow) : NOTHING,
  ),
  of(operation, 'support', ({ supportPerRow }) => count(supportPerRow)),
  of(operation, 'overflow rows', ({ overflowRows }) => overflowRows.toFixed(1)),
];

const memoryTable = [
  ...settingColumns.slice(0, 2),
  of('step', 'bytes per identity', ({ bytesPerIdentity }) =>
    count(bytesPerIdentity),
  ),
  of('step', 'state, MB', ({ prototypeBytes, optimizerBytes }) =>
    count((prototypeBytes + optimizerBytes) / 1e6),
  ),
  of('step', 'scratch, MB', ({ scratchBytes }) => megabytes(scratchBytes)),
  of('step', 'peak beyond state, MB', ({ peakBeyondStateBytes }) =>
    megabytes(peakBeyondStateBytes),
  ),
  of('step', 'limit, MB', ({ limitBytes }) => megabytes(limitBytes)),
];

function comparisons({ quick }) {
  const settings = quick ? QUICK_SETTINGS : SETTINGS;
  return Object.entries(settings).map(([name, setting]) => ({ name, setting }));
}

export const headPart = {
  name: 'head',
  about: 'one training step next to sgemm of the logits',
  comparisons,
  contenders: ({ setting }, threads) => ({
    step: head('step', setting, threads),
    sgemm: sgemm(setting, threads),
  }),
  table(results) {
    const time = [
      ...timeTable('step'),
      [
        'GEMM rate',
        (result) => {
          const share = gemmRate(result);
          return share === undefined ? NOTHING : percent(share);
        },
      ],
      ...counters('step'),
      of('step', 'touched', (step) => count(step.touchedPrototypes)),
    ];
    return `${markdownTable(time, results)}\n\nMemory:\n\n${markdownTable(memoryTable, results, 2)}`;
  },
};

export const forwardPart = {
  name: 'forward',
  about: 'losses alone, and with the gradient of the embeddings',
  comparisons,
  contenders: ({ setting }, threads) => ({
    forward: head('forward', setting, threads),
    evaluate: head('evaluate', setting, threads),
    sgemm: sgemm(setting, threads),
  }),
  table: (results) =>
    markdownTable(
      [
        ...timeTable('forward'),
        ratioColumn('evaluate', 'sgemm', 'with ∂x / sgemm'),
        ...counters('forward'),
      ],
      results,
    ),
};
