// The curves as SVG for docs/images: log axes, a white ground, no DOM.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import { isMeasured } from './table.mjs';

const COLORS = ['#2f7fc1', '#23936b', '#b6539b', '#d9660a', '#6b7280'];
const DASHES = [
  [1, 0],
  [7, 3],
  [2, 2],
  [9, 3, 2, 3],
  [4, 2, 1, 2],
];

const TIMES = [
  ['step', 'training step'],
  ['stepTrained', 'training step, trained-like'],
  ['evaluate', 'forward and ∂x'],
  ['sgemm', 'sgemm, logits only'],
].map(([contender, label], index) => ({
  label,
  index,
  value: (result) =>
    isMeasured(result, contender)
      ? 1e3 * result.contenders[contender].time.median
      : undefined,
}));

const MEMORIES = [
  ['step', 'training process', ({ peakBytes }) => peakBytes],
  [
    'step',
    'prototypes and optimiser',
    ({ prototypeBytes, optimizerBytes }) => prototypeBytes + optimizerBytes,
  ],
  [
    'step',
    'training, beyond those',
    ({ peakBeyondStateBytes }) => peakBeyondStateBytes,
  ],
  ['sgemm', 'sgemm process', (end) => end.peakBytes],
].map(([contender, label, bytes], index) => ({
  label,
  index,
  value: (result) =>
    isMeasured(result, contender)
      ? bytes(result.contenders[contender]) / 1e6
      : undefined,
}));

const AXES = {
  identities: {
    title: 'identities C',
    at: ({ setting }) => setting.identities,
  },
  batch: { title: 'batch B', at: ({ setting }) => setting.batch },
  threads: { title: 'threads', at: ({ threads }) => threads },
};

/** What is drawn from which part's results. */
const PLOTS = [
  ['curves', 'identities', 'time', 'Time against identities', TIMES],
  ['curves', 'identities', 'memory', 'Memory against identities', MEMORIES],
  ['curves', 'batch', 'time', 'Time against batch', TIMES],
  ['curves', 'batch', 'memory', 'Memory against batch', MEMORIES],
  ['threads', 'threads', 'time', 'Time against threads', TIMES],
];

function specification(title, subtitle, axis, unit, lines, values) {
  const color = '#1f2328';
  const labels = lines.map(({ label }) => label);
  // A line that is missing must not change the colours of the others.
  const pick = (from) => lines.map(({ index }) => from[index]);
  const legend = {
    title: null,
    orient: 'bottom',
    columns: 2,
    // Widths are estimated, generously.
    labelLimit: 600,
    symbolType: 'stroke',
    symbolSize: 400,
    symbolStrokeWidth: 2.5,
  };
  const scale = { type: 'log', nice: false, padding: 12 };
  const places = [...new Set(values.map(({ x }) => x))];
  return {
    width: 520,
    height: 320,
    padding: 8,
    background: 'white',
    title: { text: title, subtitle },
    data: { values },
    mark: { type: 'line', strokeWidth: 2, point: { size: 35, filled: true } },
    encoding: {
      x: {
        field: 'x',
        type: 'quantitative',
        scale,
        axis: { title: axis, values: places, format: '~s' },
      },
      y: {
        field: 'y',
        type: 'quantitative',
        scale,
        axis: { title: unit, format: ',' },
      },
      color: {
        field: 'line',
        type: 'nominal',
        scale: { domain: labels, range: pick(COLORS) },
        legend,
      },
      strokeDash: {
        field: 'line',
        type: 'nominal',
        scale: { domain: labels, range: pick(DASHES) },
        legend,
      },
    },
    config: {
      font: 'system-ui, sans-serif',
      title: { anchor: 'start', color, fontSize: 16, subtitleColor: color },
      axis: {
        labelColor: color,
        titleColor: color,
        gridOpacity: 0.6,
        labelFontSize: 13,
        titleFontSize: 14,
        titleFontWeight: 500,
        labelOverlap: 'greedy',
      },
      legend: { labelColor: color, labelFontSize: 13 },
      view: { stroke: null },
    },
  };
}

async function draw(file, spec) {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    writeFileSync(file, `${await view.toSVG()}\n`);
  } finally {
    view.finalize();
  }
}

/** Sizes that stay the same along a curve. */
function fixed({ setting, threads }, along) {
  const { batch, identities, dim, loss, alpha, scale } = setting;
  return Object.entries({ B: batch, C: identities, D: dim, threads })
    .filter(([name]) => name !== { identities: 'C', batch: 'B' }[along])
    .filter(([name]) => name !== along)
    .map(([name, value]) => `${name} ${value.toLocaleString('en-US')}`)
    .concat(`${loss}, α ${alpha}, s ${scale}`)
    .join(', ');
}

/** Draws what a run holds; returns the files' names. */
export async function drawCurves({ benchmark, results }, directory) {
  mkdirSync(directory, { recursive: true });
  const files = [];
  for (const [part, along, what, title, lines] of PLOTS) {
    const [first] = results.filter((result) => result.along === along);
    if (part !== benchmark || first === undefined) continue;
    const { title: axis, at } = AXES[along];
    const values = results
      .filter((result) => result.along === along)
      // Threads are measured for several settings; one is drawn.
      .filter((result) => result.setting.loss === first.setting.loss)
      .filter(({ setting }) => setting.dim === first.setting.dim)
      .flatMap((result) =>
        lines.map(({ label, value }) => ({
          line: label,
          x: at(result),
          y: value(result),
        })),
      )
      .filter(({ y }) => y > 0);
    const unit = what === 'time' ? 'milliseconds' : 'megabytes';
    const used = lines.filter(({ label }) =>
      values.some(({ line }) => line === label),
    );
    const name = `${what}-${along}.svg`;
    const subtitle = fixed(first, along);
    await draw(
      path.join(directory, name),
      specification(title, subtitle, axis, unit, used, values),
    );
    files.push({ name, title: `${title} (${subtitle})` });
  }
  return files;
}
