import type { TopLevelSpec } from 'vega-lite';
import type { CheckedPlotOptions, CurvePlot, PlotAxis } from './curve-plot.js';
import { COLORS, DASHES, plotConfiguration } from './plot-theme.js';
import { printable } from './systems.js';
import { clipCurve, type Point } from './thin-curve.js';

/** The vega-lite specification of a plot. */
export function plotSpecification(
  plot: CurvePlot,
  { title, width, height, theme, legend: named }: CheckedPlotOptions,
): TopLevelSpec {
  const ink = theme === 'paper' ? '#1f2328' : 'currentColor';
  const names = plot.curves.map(({ name }) => name);
  // What the caller writes is nobody's key: Vega fails at 'constructor'.
  const keys = names.map((_, index) => `system ${index}`);
  const of = (index: number, point: Point, order: number) => ({
    system: keys[index]!,
    x: Number(point[0].toPrecision(7)),
    y: Number(point[1].toPrecision(7)),
    order,
  });
  const lines = plot.curves.flatMap(({ points }, index) =>
    clipCurve(points, plot.window).map((point, order) =>
      of(index, point, order),
    ),
  );
  const marks = plot.curves.flatMap(({ mark }, index) =>
    mark === undefined ? [] : [of(index, mark, 0)],
  );
  const pick = <Value>(from: readonly Value[]) =>
    plot.curves.map(
      ({ place }, index) => from[(place ?? index) % from.length]!,
    );
  const legend =
    names.length < 2 || !named
      ? null
      : ({
          orient: 'bottom',
          title: null,
          columns: 1,
          labelExpr: labelOf(keys, names),
          // Widths are estimated, generously: this is about the plot's width.
          labelLimit: 1.35 * width,
          symbolType: 'stroke',
          symbolSize: 400,
          symbolStrokeWidth: 2.5,
        } as const);
  const position = {
    x: { field: 'x', ...coordinate(plot.x, plot.window.x) },
    y: { field: 'y', ...coordinate(plot.y, plot.window.y) },
  };
  const bySystem = { field: 'system', type: 'nominal' as const };
  const color = {
    ...bySystem,
    scale: { domain: keys, range: pick(COLORS) },
    legend,
  };
  const drawingOrder = { field: 'order', type: 'quantitative' as const };
  const guide = (plot.guide ?? []).map(([x, y], order) => ({ x, y, order }));
  return {
    width,
    height,
    padding: 6,
    background: theme === 'paper' ? 'white' : 'transparent',
    ...(title !== '' && {
      title: { text: { expr: `slice(${literal(printable(title))}, 1)` } },
    }),
    layer: [
      {
        data: { values: guide },
        mark: {
          type: 'line',
          color: ink,
          opacity: 0.4,
          strokeDash: [3, 4],
          strokeWidth: 1,
        },
        encoding: {
          ...position,
          order: drawingOrder,
        },
      },
      {
        data: { values: lines },
        mark: {
          type: 'line',
          strokeWidth: 2,
          strokeJoin: 'miter',
          fillOpacity: 0.18,
        },
        encoding: {
          ...position,
          color,
          ...(plot.filled && { fill: color }),
          strokeDash: {
            ...bySystem,
            scale: { domain: keys, range: pick(DASHES) },
            legend,
          },
          order: drawingOrder,
        },
      },
      {
        data: { values: marks },
        mark: { type: 'point', filled: true, size: 60, opacity: 1 },
        encoding: { ...position, color },
      },
    ],
    config: plotConfiguration(ink),
  };
}

/**
 * A text in Vega's expressions, one character longer: Vega takes a literal for the name of a signal if
 * an object of its own has such a property, 'constructor' say.
 */
function literal(text: string) {
  return JSON.stringify(`|${text}`);
}

/** Vega's expression for the label of a value. */
function labelOf(
  values: readonly (number | string)[],
  labels: readonly string[],
) {
  return `slice([${labels.map(literal)}][indexof(${JSON.stringify(values)}, datum.value)], 1)`;
}

/** Labels only where the plot says: the positions are not the numbers shown. */
function coordinate({ title, ticks }: PlotAxis, [low, high]: Point) {
  const positions = ticks.map(({ at }) => at);
  return {
    type: 'quantitative' as const,
    scale: { domain: [low, high], nice: false, zero: false },
    axis: {
      title,
      values: positions,
      labelExpr: labelOf(
        positions,
        ticks.map(({ label }) => label),
      ),
    },
  };
}
