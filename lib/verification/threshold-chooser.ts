import { escapeHtml, percent, scrollingTable } from './html.js';
import {
  CHOOSABLE_RATES,
  type OperatingPoint,
  operatingPoints,
} from './operating-points.js';
import type { NamedScores } from './systems.js';

/** The rate shown until another is chosen, where the trials support it. */
const FIRST_CHOICE = 1e-3;

/** Rows of the table. */
const QUANTITIES = [
  'Threshold',
  'TAR',
  'False accepts in these trials',
  'False accepts per million',
] as const;

/** Under this many false accepts a rate is mostly chance. */
const FEW = 30;

/** What the page's script reads: all texts ready, none of a caller, so that it only swaps them. */
interface ChooserData {
  /** The choices, strictest first. */
  readonly rates: readonly string[];
  /** [rates][quantities × systems], row by row. */
  readonly cells: readonly (readonly string[])[];
}

/**
 * Chooser of a threshold: a slider over false accept rates, and for each system the
 * threshold that keeps the rate and what it costs. Without scripts it shows one rate.
 */
export function thresholdChooser(systems: readonly NamedScores[]): string {
  const most = Math.max(...systems.map(({ scores }) => scores.impostorPairs));
  const rates = CHOOSABLE_RATES.filter((rate) => 1 / most <= rate);
  const heading = '<h2 id="chooser">Choose a threshold</h2>';
  if (rates.length === 0) {
    return `<section class="chooser">${heading}
<p class="legend">Too few impostor pairs to choose a threshold by.</p></section>`;
  }
  const points = systems.map(({ scores }) => operatingPoints(scores, rates));
  const data: ChooserData = {
    rates: rates.map(rateText),
    cells: rates.map((_, rate) =>
      QUANTITIES.flatMap((quantity) =>
        points.map((system) => cellText(quantity, system[rate]!)),
      ),
    ),
  };
  const wanted = rates.findIndex((rate) => rate >= FIRST_CHOICE);
  const first = wanted < 0 ? rates.length - 1 : wanted;
  return `<section class="chooser" aria-labelledby="chooser">${heading}
<p class="choice"><label for="far">False accept rate at most</label> <output id="chosen" for="far">${data.rates[first]}</output></p>
<input id="far" type="range" min="0" max="${rates.length - 1}" step="1" value="${first}" aria-valuetext="${data.rates[first]}" hidden>
${table(systems, data.cells[first]!)}
<p class="legend">${legend()}</p>
<script type="application/json" id="operating-points">${JSON.stringify(data)}</script>
<script>${CHOOSER_SCRIPT}</script>
</section>`;
}

/** Plain JavaScript of the page; all it reads is in the page. */
const CHOOSER_SCRIPT = `
{
  const { rates, cells } = JSON.parse(document.getElementById('operating-points').textContent);
  const slider = document.getElementById('far');
  const chosen = document.getElementById('chosen');
  const shown = document.querySelectorAll('.chooser td');
  const show = () => {
    chosen.textContent = rates[slider.value];
    slider.setAttribute('aria-valuetext', rates[slider.value]);
    cells[slider.value].forEach((text, index) => { shown[index].textContent = text; });
  };
  slider.addEventListener('input', show);
  slider.hidden = false;
  // Browsers bring back the old position when a page is loaded again.
  show();
}
`;

function table(
  systems: readonly NamedScores[],
  cells: readonly string[],
): string {
  const heads = systems.map(
    ({ name }) => `<th scope="col">${escapeHtml(name)}</th>`,
  );
  const rows = QUANTITIES.map((quantity, row) => {
    const own = cells.slice(row * systems.length, (row + 1) * systems.length);
    return `<tr><th scope="row">${quantity}</th>${own.map((text) => `<td>${text}</td>`).join('')}</tr>`;
  });
  return scrollingTable(
    'Thresholds at the chosen false accept rate',
    `<thead><tr><th scope="col">At this rate</th>${heads.join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>`,
  );
}

function cellText(
  quantity: (typeof QUANTITIES)[number],
  point: OperatingPoint | null,
): string {
  if (point === null) return quantity === 'Threshold' ? 'too few pairs' : '–';
  switch (quantity) {
    case 'Threshold':
      return Number.isFinite(point.threshold)
        ? String(point.threshold)
        : 'accepts none';
    case 'TAR':
      return percent(point.tar);
    case 'False accepts in these trials':
      return point.falseAccepts.toLocaleString('en');
    case 'False accepts per million':
      return Number(point.falseAcceptsPerMillion.toPrecision(3)).toLocaleString(
        'en',
      );
  }
}

/** A rate as a percentage and as one in so many. */
function rateText(rate: number): string {
  const oneIn = Number((1 / rate).toPrecision(3)).toLocaleString('en');
  return `${Number((100 * rate).toPrecision(3))} % (1 in ${oneIn})`;
}

function legend(): string {
  return [
    'A trial is accepted when its score reaches the threshold; the threshold is shown with as many digits as it takes to decide every trial here alike.',
    'False accepts per million: to be expected of a million impostor trials like these.',
    `Under ${FEW} false accepts in these trials, chance has a large part in both.`,
  ].join(' ');
}
