import {
  markdownTable,
  milliseconds,
  NOTHING,
  percent,
  sizes,
} from './table.mjs';

/**
 * Where the time of a call goes. A run: `{ benchmark: 'profile', environment, results }`, each
 * result `{ name, setting, threads, how, stages: [{ stage, share, seconds? }] }` with shares of the
 * whole.
 */
export function profileTable({ environment, results }) {
  const { device, instructionSet, commit, date } = environment;
  const rows = results.flatMap((result) =>
    result.stages.map((stage) => ({ ...stage, result })),
  );
  const how = [...new Set(results.map((result) => result.how))].join('; ');
  const table = markdownTable(
    [
      ['setting', ({ result }) => result.name],
      ['B × C × D', ({ result }) => sizes(result.setting)],
      ['stage', ({ stage }) => stage],
      ['share', ({ share }) => percent(share)],
      [
        'ms',
        ({ seconds }) =>
          seconds === undefined ? NOTHING : milliseconds(seconds),
      ],
    ],
    rows,
  );
  return `${device}, ${instructionSet} kernels; ${how}; commit ${commit.slice(0, 12)}, ${date.slice(0, 10)}.\n\n${table}`;
}
