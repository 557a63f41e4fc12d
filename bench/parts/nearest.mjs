// The part `nearest`: exact identification next to what libraries offer for it.
import { asInstalled, flatIndex, head, topK } from '../contenders.mjs';
import { NEAREST_SETTINGS, QUICK_NEAREST_SETTINGS } from '../settings.mjs';
import {
  count,
  gigaflops,
  markdownTable,
  of,
  ratioColumn,
  settingColumns,
  timeColumns,
} from '../table.mjs';

/** What `nearest` is measured against, and what it is called. */
export const PEERS = [
  ['sorted', 'sgemm + partial sort'],
  ['blocks', 'sgemm + sort in blocks'],
  ['faiss', 'Faiss'],
];

/** Contenders of one gallery. The peers' prototypes are random: their time is the same for any. */
export function nearestContenders(setting, threads) {
  return {
    nearest: head('nearest', setting, threads),
    sorted: topK('whole', setting, threads),
    blocks: topK('blocks', setting, threads),
    faiss: flatIndex(setting, threads),
  };
}

export const nearestPart = {
  name: 'nearest',
  about: 'exact identification next to sgemm with a partial sort, and Faiss',
  comparisons({ quick }) {
    const settings = quick ? QUICK_NEAREST_SETTINGS : NEAREST_SETTINGS;
    return Object.entries(settings).map(([name, setting]) => ({
      name,
      setting,
    }));
  },
  contenders: ({ setting }, threads) => ({
    ...nearestContenders(setting, threads),
    faissAsInstalled: asInstalled(flatIndex(setting, threads)),
  }),
  table: (results) =>
    markdownTable(
      [
        ...settingColumns,
        ['k', ({ setting }) => String(setting.k)],
        ...timeColumns('nearest', 'nearest'),
        of('nearest', 'GFLOP/s', (_, result) =>
          count(gigaflops(result, 'nearest')),
        ),
        // At one query the gallery's way through memory is the cost, not arithmetic.
        of('nearest', 'float32 GB/s', ({ time }, { setting }) =>
          ((4 * setting.identities * setting.dim) / time.median / 1e9).toFixed(
            1,
          ),
        ),
        ...PEERS.flatMap(([peer, label]) => [
          ...timeColumns(peer, label).slice(0, 1),
          ratioColumn(peer, 'nearest', `${label} / nearest`),
        ]),
        ...timeColumns('faissAsInstalled', 'Faiss as installed').slice(0, 1),
      ],
      results,
    ),
};
