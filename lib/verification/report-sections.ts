import type { CheckedPlotOptions } from './curve-plot.js';
import { detPlot } from './det-plot.js';
import { figure } from './html.js';
import { plotLegend } from './plot-legend.js';
import { rocPlot } from './roc-plot.js';
import { histogramPlots } from './score-histogram.js';
import type { NamedScores } from './systems.js';
import {
  lossPlot,
  type SystemTraining,
  supportPlot,
} from './training-history.js';

/** Small enough that a phone hardly shrinks the labels. */
const CURVES: CheckedPlotOptions = {
  theme: 'page',
  title: '',
  width: 290,
  height: 290,
  // Names may be long: in the page they wrap, in the drawing they would widen it.
  legend: false,
};

const SMALL: CheckedPlotOptions = { ...CURVES, width: 230, height: 150 };

/** DET and ROC curves of all systems. */
export async function curveSection(
  systems: readonly NamedScores[],
): Promise<string> {
  const names = systems.map(({ name }) => name).join(', ');
  const plots = [
    figure(
      'Detection error tradeoff',
      `False reject rate over false accept rate on normal deviate scales, for ${names}`,
      await detPlot(systems, CURVES),
    ),
    figure(
      'Receiver operating characteristic',
      `True accept rate over false accept rate, the latter logarithmic, for ${names}`,
      await rocPlot(systems, CURVES),
    ),
  ];
  return `<h2>Curves</h2>
${plotLegend(systems)}
<div class="plots">
${plots.join('\n')}
</div>`;
}

/** Histograms of the scores, one for each system. */
export async function histogramSection(
  systems: readonly NamedScores[],
): Promise<string> {
  const plots = await histogramPlots(systems, SMALL);
  const figures = plots.map((svg, index) => {
    const { name } = systems[index]!;
    const label = `Histograms of the scores of genuine and impostor pairs, for ${name}`;
    return figure(name, label, svg);
  });
  return `<h2>Scores</h2>
${plotLegend([{ name: 'genuine pairs' }, { name: 'impostor pairs' }])}
<div class="plots small">
${figures.join('\n')}
</div>
<p class="legend">Each histogram is a share of its own kind of pairs: there are usually many more impostor than genuine pairs.</p>`;
}

/** Loss and support size of the trainings; empty when no system has a history. */
export async function trainingSection(
  trainings: readonly SystemTraining[],
): Promise<string> {
  if (trainings.length === 0) return '';
  const names = trainings.map(({ name }) => name).join(', ');
  const plots = [
    figure(
      'Support size',
      `Mean support size over the epochs, logarithmic, for ${names}`,
      await supportPlot(trainings, CURVES),
    ),
    figure(
      'Loss',
      `Mean loss over the epochs, for ${names}`,
      await lossPlot(trainings, CURVES),
    ),
  ];
  return `<h2>Training</h2>
${plotLegend(trainings)}
<div class="plots">
${plots.join('\n')}
</div>
<p class="legend">Means over the rows of an epoch. Support size: how many identities have a posterior above zero. Values of different losses or scales cannot be compared with one another.</p>`;
}
