import { type CheckedPlotOptions, renderCurves } from './curve-plot.js';
import { niceTicks } from './nice-ticks.js';
import type { NamedScores } from './systems.js';
import type { Point } from './thin-curve.js';
import type { TrialScores } from './trial-scores.js';

/** Bins of a histogram. */
const BINS = 48;

/** Lowest and highest score shown. */
type ScoreRange = readonly [low: number, high: number];

/**
 * Histograms of the scores, one SVG a system: shares of the genuine and of the
 * impostor pairs in each of 48 bins. Systems that score by cosine share an axis, so
 * that they can be compared; other scales keep their own.
 */
export function histogramPlots(
  systems: readonly NamedScores[],
  options: CheckedPlotOptions,
): Promise<string[]> {
  const ranges = systems.map(({ scores }) => rangeOf(scores));
  const cosines = ranges.filter(isCosine);
  const shared: ScoreRange = [
    Math.min(...cosines.map(([low]) => low)),
    Math.max(...cosines.map(([, high]) => high)),
  ];
  return Promise.all(
    systems.map(({ scores }, index) => {
      const range = ranges[index]!;
      return histogramPlot(scores, isCosine(range) ? shared : range, options);
    }),
  );
}

function rangeOf({ thresholds }: TrialScores): ScoreRange {
  return [thresholds.at(-1)!, thresholds[0]!];
}

function isCosine([low, high]: ScoreRange): boolean {
  return low >= -1.001 && high <= 1.001;
}

function histogramPlot(
  scores: TrialScores,
  range: ScoreRange,
  options: CheckedPlotOptions,
): Promise<string> {
  // Scores that are all equal still need a bin of some width.
  const middle = (range[0] + range[1]) / 2;
  const half = Math.max(
    (range[1] - range[0]) / 2,
    1e-3 * Math.abs(middle),
    1e-6,
  );
  const x: ScoreRange = [middle - half, middle + half];
  const kinds = (['genuine', 'impostor'] as const).map((kind) => ({
    name: `${kind} pairs`,
    shares: shares(scores, scores[`${kind}Counts`], scores[`${kind}Pairs`], x),
  }));
  const top = 1.05 * Math.max(...kinds.flatMap(({ shares }) => [...shares]));
  return renderCurves(
    {
      window: { x, y: [0, top] },
      x: { title: 'Score', ticks: niceTicks(...x, 5) },
      y: { title: 'Pairs (%)', ticks: niceTicks(0, top, 4, { unit: 0.01 }) },
      filled: true,
      curves: kinds.map(({ name, shares }) => ({
        name,
        points: outline(shares, x),
      })),
    },
    options,
  );
}

/** Share of the pairs in each bin. */
function shares(
  { thresholds }: TrialScores,
  counts: Float64Array,
  pairs: number,
  [low, high]: ScoreRange,
): Float64Array {
  const bins = new Float64Array(BINS);
  for (let level = 0; level < thresholds.length; level += 1) {
    const share = (thresholds[level]! - low) / (high - low);
    const bin = Math.max(0, Math.min(BINS - 1, Math.floor(share * BINS)));
    bins[bin]! += counts[level]! / pairs;
  }
  return bins;
}

/** The steps of a histogram, from the axis back to the axis. */
function outline(shares: Float64Array, [low, high]: ScoreRange): Point[] {
  const edge = (bin: number) => low + (bin / BINS) * (high - low);
  const steps = [...shares].flatMap((share, bin): Point[] => [
    [edge(bin), share],
    [edge(bin + 1), share],
  ]);
  return [[low, 0], ...steps, [high, 0]];
}
