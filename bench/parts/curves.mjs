// The part `curves`: time and memory against the number of identities and the batch.
import { head, sgemm } from '../contenders.mjs';
import { SETTINGS } from '../settings.mjs';
import {
  gigaflops,
  isMeasured,
  markdownTable,
  milliseconds,
  NOTHING,
  of,
  ratioColumn,
  sizes,
} from '../table.mjs';

const faces = SETTINGS['face-100k'];
const THOUSAND = 1000;
// D = 256: four million identities with their momentum fit in 24 GB.
const IDENTITIES = [10, 32, 100, 320, 1000, 2000, 4000];
const BATCHES = [1, 4, 16, 64, 128, 256, 1024];

function alongIdentities(thousands) {
  const identities = thousands * THOUSAND;
  return {
    name: `identities-${thousands}k`,
    along: 'identities',
    setting: {
      ...faces,
      identities,
      dim: 256,
      alone: identities > 1_000_000,
    },
  };
}

function alongBatch(batch, identities = faces.identities) {
  return {
    name: `batch-${batch}`,
    along: 'batch',
    setting: { ...faces, identities, batch },
  };
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

export const curvesPart = {
  name: 'curves',
  about: 'time and peak memory against identities and batch',
  seconds: 4,
  comparisons: ({ quick }) =>
    quick
      ? [
          ...[10, 32].map(alongIdentities),
          ...[1, 16].map((batch) => alongBatch(batch, 10_000)),
        ]
      : [
          ...IDENTITIES.map(alongIdentities),
          ...BATCHES.map((batch) => alongBatch(batch)),
        ],
  contenders: ({ setting }, threads) => ({
    step: head('step', setting, threads),
    stepTrained: head(
      'step',
      { ...setting, prototypes: 'trained-like' },
      threads,
    ),
    evaluate: head('evaluate', setting, threads),
    sgemm: sgemm(setting, threads),
  }),
  table: (results) =>
    markdownTable(
      [
        ['curve', ({ along }) => along],
        ['B × C × D', ({ setting }) => sizes(setting)],
        ...[
          ['step', 'step, ms'],
          ['stepTrained', 'step, trained-like, ms'],
          ['evaluate', 'evaluate, ms'],
          ['sgemm', 'sgemm, ms'],
        ].map(([name, title]) =>
          of(name, title, ({ time }) => milliseconds(time.median)),
        ),
        ratioColumn('step', 'sgemm', 'step / sgemm'),
        of('step', 'process, MB', ({ peakBytes }) => megabytes(peakBytes)),
        of('sgemm', 'sgemm process, MB', ({ peakBytes }) =>
          megabytes(peakBytes),
        ),
      ],
      results,
      2,
    ),
};

/** 1, 2, 4 … and all cores. */
function threadCounts(cores) {
  const counts = [];
  for (let threads = 1; threads < cores; threads *= 2) counts.push(threads);
  return [...counts, cores];
}

export const threadsPart = {
  name: 'threads',
  about: 'time against threads',
  seconds: 4,
  comparisons({ quick, cores }) {
    const settings = quick
      ? { 'face-10k': { ...faces, identities: 10_000 } }
      : {
          'face-100k': faces,
          'cosface-100k': SETTINGS['cosface-100k'],
          speaker: SETTINGS.speaker,
        };
    return Object.entries(settings).flatMap(([name, setting]) =>
      threadCounts(cores).map((threads) => ({
        name: `${name}, threads: ${threads}`,
        along: 'threads',
        setting,
        threads,
      })),
    );
  },
  contenders: ({ setting }, threads) => ({
    step: head('step', setting, threads),
    evaluate: head('evaluate', setting, threads),
    sgemm: sgemm(setting, threads),
  }),
  table(results) {
    /** Time of one thread over this time, for the same contender and setting. */
    const speedUp = (name) => (result) => {
      const single = results.find(
        ({ setting, threads }) =>
          threads === 1 &&
          JSON.stringify(setting) === JSON.stringify(result.setting),
      );
      if (single === undefined || !isMeasured(single, name)) return NOTHING;
      if (!isMeasured(result, name)) return NOTHING;
      return (gigaflops(result, name) / gigaflops(single, name)).toFixed(2);
    };
    const columns = ['step', 'evaluate', 'sgemm'].flatMap((name) => [
      of(name, `${name}, ms`, ({ time }) => milliseconds(time.median)),
      ['× one thread', speedUp(name)],
    ]);
    return markdownTable(
      [
        ['setting', ({ name }) => name.split(',')[0]],
        ['B × C × D', ({ setting }) => sizes(setting)],
        ['threads', ({ threads }) => String(threads)],
        ...columns,
        ratioColumn('step', 'sgemm', 'step / sgemm'),
      ],
      results,
      2,
    );
  },
};
