import type { Config } from 'vega-lite';

/** Mid-tones with at least 3:1 contrast on white and on near-black. */
export const COLORS = [
  '#2f7fc1',
  '#d9660a',
  '#23936b',
  '#b6539b',
  '#7a6ccf',
  '#a5770f',
];

/**
 * Dashes tell curves apart without colour. One fewer than the colours: pairs of
 * both repeat only after thirty systems.
 */
export const DASHES = [
  [1, 0],
  [7, 3],
  [2, 2],
  [9, 3, 2, 3],
  [4, 2, 1, 2],
];

/** Type sizes and ink of a plot; sizes stay legible when a phone shrinks it. */
export function plotConfiguration(ink: string): Config {
  return {
    font: 'system-ui, sans-serif',
    title: {
      anchor: 'start',
      color: ink,
      fontSize: 16,
      fontWeight: 600,
      offset: 12,
    },
    axis: {
      domainColor: ink,
      tickColor: ink,
      labelColor: ink,
      titleColor: ink,
      gridColor: ink,
      gridOpacity: 0.14,
      labelFontSize: 13,
      titleFontSize: 14,
      titleFontWeight: 500,
      titlePadding: 8,
      labelOverlap: 'greedy',
      labelFlush: false,
    },
    legend: { labelColor: ink, labelFontSize: 13 },
    view: { stroke: null },
  };
}
