import {
  type PlotAxis,
  type PlotOptions,
  readPlotOptions,
  renderCurves,
} from './curve-plot.js';
import { type RocCurve, roc } from './roc.js';
import { type NamedScores, readSystems } from './systems.js';
import { type Point, thinCurve } from './thin-curve.js';
import type { TrialScores } from './trial-scores.js';

/** Lowest power of ten on the axis of false accept rates. */
const LEAST_EXPONENT = -6;

/** Lower ends the axis of true accept rates may have. */
const LOWER_ENDS = [
  0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99,
];

/** Distances the labels of the true accept rate may have. */
const TICK_STEPS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/**
 * Receiver operating characteristic plot: true accept rate over false accept rate,
 * the latter on a logarithmic scale, where systems at strict thresholds differ.
 *
 * A false accept rate below 1/impostorPairs cannot be measured: each curve begins
 * at one false accept. The axis stops at 10⁻⁶, and the axis of the true accept rate
 * starts just below the lowest curve. Curves are thinned to what can be seen.
 *
 * @param systems The scores of one system, or several `{ name, scores }`; the
 *   legend is shown for several.
 * @param options Title, size, theme, legend. Default 380 × 380 pixels between the axes,
 *   dark ink on white.
 * @returns An SVG document without references to other files.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` when an option is unknown or out of range,
 *   names are not different, or a system lacks genuine or impostor pairs.
 * @example
 * import { writeFileSync } from 'node:fs';
 * import { rocPlot, trialScoresFrom } from 'alphamargin/verification';
 * const scores = trialScoresFrom(
 *   Float32Array.of(0.9, 0.7, 0.4),
 *   Float32Array.of(0.5, 0.1, -0.2),
 * );
 * writeFileSync('/tmp/roc.svg', await rocPlot([{ name: 'three pairs', scores }]));
 */
export async function rocPlot(
  systems: TrialScores | readonly NamedScores[],
  options: PlotOptions = {},
): Promise<string> {
  const checked = readPlotOptions('rocPlot', options);
  const curves = readSystems('rocPlot', systems).map(({ name, scores }) => ({
    name,
    curve: roc(scores),
    leastFar: 1 / scores.impostorPairs,
  }));
  const exponents = curves.map(({ leastFar }) =>
    Math.floor(Math.log10(leastFar)),
  );
  const left = Math.max(LEAST_EXPONENT, Math.min(-1, ...exponents));
  const lowest = Math.min(
    ...curves.map(({ curve, leastFar }) =>
      tarWithin(curve, Math.max(leastFar, 10 ** left)),
    ),
  );
  const bottom = LOWER_ENDS.findLast((end) => end <= lowest) ?? 0;
  const scale: Point = [checked.width / -left, checked.height / (1 - bottom)];
  return renderCurves(
    {
      window: { x: [left, 0], y: [bottom, 1] },
      x: farAxis(left),
      y: tarAxis(bottom),
      curves: curves.map(({ name, curve, leastFar }) => ({
        name,
        points: thinCurve(rocPoints(curve, leastFar), scale),
      })),
    },
    checked,
  );
}

/** The measurable part of a curve: log₁₀ FAR and TAR. */
function* rocPoints(
  { far, tar }: RocCurve,
  leastFar: number,
): Generator<Point> {
  const firstFalseAccept = far.findIndex((rate) => rate > 0);
  for (let point = firstFalseAccept - 1; point < far.length; point += 1) {
    yield [Math.log10(Math.max(far[point]!, leastFar)), tar[point]!];
  }
  // A lone point at the right end still gives a line.
  yield [0, 1];
}

/** True accept rate of the last point with FAR ≤ `limit`. */
function tarWithin({ far, tar }: RocCurve, limit: number): number {
  const beyond = far.findIndex((rate) => rate > limit);
  return tar[(beyond < 0 ? far.length : beyond) - 1]!;
}

/** Powers of ten. */
function farAxis(left: number): PlotAxis {
  const superscript = '⁰¹²³⁴⁵⁶';
  const ticks = Array.from({ length: 1 - left }, (_, power) => ({
    at: -power,
    label: power === 0 ? '1' : `10⁻${superscript[power]}`,
  }));
  return { title: 'False accept rate', ticks };
}

/** About five percentages, from 100 down. */
function tarAxis(bottom: number): PlotAxis {
  const step =
    TICK_STEPS.find((size) => size >= (1 - bottom) / 5 - 1e-9) ?? 0.2;
  const count = Math.floor((1 - bottom) / step + 1e-9);
  const ticks = Array.from({ length: count + 1 }, (_, index) => {
    const rate = Number((1 - index * step).toFixed(6));
    return { at: rate, label: String(Number((100 * rate).toFixed(4))) };
  });
  return { title: 'True accept rate (%)', ticks };
}
