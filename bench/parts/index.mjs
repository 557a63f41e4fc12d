import { acceptancePart } from './acceptance.mjs';
import { curvesPart, threadsPart } from './curves.mjs';
import { gpuPart } from './gpu.mjs';
import { nearestPart } from './nearest.mjs';
import { peersPart } from './peers.mjs';
import { forwardPart, headPart } from './steps.mjs';

const all = [
  headPart,
  forwardPart,
  nearestPart,
  peersPart,
  curvesPart,
  threadsPart,
  acceptancePart,
  gpuPart,
];

/**
 * What can be measured, by name. A part has
 * - `comparisons({ quick, cores })`: `{ name, setting }`, and `threads` where they are not the
 *   run's, or `measure(setting)` where there is no contest;
 * - `contenders(comparison, threads)`: who takes turns, see contest.mjs;
 * - `table(results)`: markdown;
 * - `seconds`, where less time than usual is measured.
 */
export const PARTS = Object.fromEntries(all.map((part) => [part.name, part]));

/** Without a choice: what takes a few minutes each. */
export const DEFAULT_PARTS = ['head', 'forward', 'nearest', 'peers'];
