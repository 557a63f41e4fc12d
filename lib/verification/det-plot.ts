import {
  type PlotAxis,
  type PlotOptions,
  readPlotOptions,
  renderCurves,
} from './curve-plot.js';
import { eer } from './eer.js';
import { probit } from './probit.js';
import { type RocCurve, roc } from './roc.js';
import { type NamedScores, readSystems } from './systems.js';
import { type Point, thinCurve } from './thin-curve.js';
import type { TrialScores } from './trial-scores.js';

/** Rates that may carry a label. */
const TICKS = [
  1e-6, 1e-5, 1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6,
  0.8, 0.9, 0.95, 0.98, 0.99,
];

/** Upper end of both axes for usable systems, and for those near chance. */
const UPPER = { usual: 0.5, nearChance: 0.99 };

/**
 * Detection error tradeoff plot: false reject rate over false accept rate, both on
 * the scale of normal deviates Φ⁻¹, where normally distributed scores give a
 * straight line. A dot marks each system's equal error rate, a dashed line where
 * both rates are equal.
 *
 * A rate below 1/pairs cannot be measured: each curve ends at one false accept on
 * one side and one false reject on the other. Axes stop at 0.0001 %, and at 50 %
 * unless a system is near chance. Curves are thinned to what can be seen.
 *
 * @param systems The scores of one system, or several `{ name, scores }`; the
 *   legend is shown for several.
 * @param options Title, size, theme, legend. Default 380 × 380 pixels between the axes,
 *   dark ink on white.
 * @returns An SVG document without references to other files.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an option is unknown or out of range,
 *   names are not different, or a system lacks genuine or impostor pairs.
 * @see Martin et al., The DET curve in assessment of detection task performance,
 *   Eurospeech 1997.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { detPlot, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * writeFileSync('/tmp/det.svg', await detPlot(scores, { title: 'Three pairs' }));
 */
export async function detPlot(
  systems: TrialScores | readonly NamedScores[],
  options: PlotOptions = {},
): Promise<string> {
  const checked = readPlotOptions('detPlot', options);
  const curves = readSystems('detPlot', systems).map(({ name, scores }) => {
    const points = thinCurve(detPoints(scores), [
      checked.width / deviatesShown(leastRate(scores.impostorPairs)),
      checked.height / deviatesShown(leastRate(scores.genuinePairs)),
    ]);
    const { rate } = eer(scores);
    return { name, points, rate };
  });
  const nearChance = curves.some(({ rate }) => rate > 0.35);
  const upper = probit(nearChance ? UPPER.nearChance : UPPER.usual);
  const lowerX = lowerEnd(curves, 0, upper);
  const lowerY = lowerEnd(curves, 1, upper);
  const start = Math.max(lowerX, lowerY);
  return renderCurves(
    {
      window: { x: [lowerX, upper], y: [lowerY, upper] },
      x: axis('False accept rate (%)', lowerX, upper),
      y: axis('False reject rate (%)', lowerY, upper),
      curves: curves.map(({ name, points, rate }) => ({
        name,
        points,
        ...dot(points, rate, start, upper),
      })),
      guide: [
        [start, start],
        [upper, upper],
      ],
    },
    checked,
  );
}

/** The measurable part of a curve, as normal deviates of FAR and FRR. */
function* detPoints(scores: TrialScores): Generator<Point> {
  const { far, tar }: RocCurve = roc(scores);
  const leastFar = leastRate(scores.impostorPairs);
  const leastFrr = leastRate(scores.genuinePairs);
  const clamp = (rate: number, least: number) =>
    probit(Math.min(1 - least, Math.max(rate, least)));
  const firstFalseAccept = far.findIndex((rate) => rate > 0);
  const noFalseReject = tar.indexOf(1);
  const first = Math.min(firstFalseAccept - 1, noFalseReject);
  for (let point = first; point <= noFalseReject; point += 1) {
    yield [clamp(far[point]!, leastFar), clamp(1 - tar[point]!, leastFrr)];
  }
}

/** The least rate some pairs can measure; a half for one keeps Φ⁻¹ finite. */
function leastRate(pairs: number): number {
  return Math.min(0.5, 1 / pairs);
}

/** Least length of an axis that begins at a rate, in normal deviates. */
function deviatesShown(least: number): number {
  const lower = Math.min(0.2, Math.max(least, TICKS[0]!));
  return probit(UPPER.usual) - probit(lower);
}

/** The tick at or below everything that is drawn. */
function lowerEnd(
  curves: readonly { readonly points: readonly Point[] }[],
  side: 0 | 1,
  upper: number,
): number {
  let least = probit(0.2);
  for (const { points } of curves) {
    for (const point of points) {
      if (point[1 - side]! <= upper) least = Math.min(least, point[side]);
    }
  }
  // A hair of slack: a curve that ends at a tick need not go to the next one.
  const below = TICKS.map(probit).filter((tick) => tick <= least + 1e-9);
  return below.at(-1) ?? probit(TICKS[0]!);
}

/** Percentages between two normal deviates. */
function axis(title: string, lower: number, upper: number): PlotAxis {
  const ticks = TICKS.map((rate) => ({
    at: probit(rate),
    label: String(Number((100 * rate).toPrecision(6))),
  })).filter(({ at }) => at >= lower && at <= upper);
  return { title, ticks };
}

/** Marks the equal error rate, or the only point of a curve. */
function dot(
  points: readonly Point[],
  rate: number,
  lower: number,
  upper: number,
): { mark?: Point } {
  if (points.length === 1) return { mark: points[0]! };
  const at = probit(rate);
  return at >= lower && at <= upper ? { mark: [at, at] } : {};
}
