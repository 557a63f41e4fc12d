import { describe, expect, it } from 'vitest';
import {
  detPlot,
  rocPlot,
  type TrialScores,
  trialScoresFrom,
} from '../../lib/verification/index.js';
import { normal } from './reference.js';

function system(
  seed: number,
  distance: number,
  genuine = 500,
  impostor = 20_000,
): TrialScores {
  const next = normal(seed);
  return trialScoresFrom(
    Float32Array.from({ length: genuine }, () => distance + next()),
    Float32Array.from({ length: impostor }, next),
  );
}

/** Texts an SVG shows. */
const texts = (svg: string) =>
  [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text!);

/** Vertices of the curves: paths with a coloured stroke of width 2. */
function curves(svg: string): [number, number][][] {
  return [...svg.matchAll(/<path[^>]*>/g)]
    .map(([path]) => path)
    .filter((path) => /stroke-width="2"/.test(path) && /stroke="#/.test(path))
    .map((path) => / d="([^"]*)"/.exec(path)![1]!)
    .map((d) =>
      [...d.matchAll(/[ML]([-\d.e]+),([-\d.e]+)/g)].map(
        ([, x, y]) => [Number(x), Number(y)] as [number, number],
      ),
    );
}

describe.each([
  ['detPlot', detPlot],
  ['rocPlot', rocPlot],
])('%s', (name, plot) => {
  it('draws one system without a legend', async () => {
    const svg = await plot(system(1, 3), { title: 'One system' });
    expect(svg).toMatch(/^<svg[^>]*viewBox/);
    expect(svg.trimEnd()).toMatch(/<\/svg>$/);
    expect(texts(svg)).toContain('One system');
    expect(texts(svg)).not.toContain('system');
    expect(curves(svg)).toHaveLength(1);
  });

  it('names several systems in a legend, escaped', async () => {
    const svg = await plot([
      { name: 'A <b> & "c"', scores: system(1, 2) },
      { name: 'plain', scores: system(2, 3) },
    ]);
    expect(texts(svg)).toContain('plain');
    expect(svg).not.toContain('<b>');
    expect(svg).toContain('A &lt;b&gt; &amp;');
    expect(curves(svg)).toHaveLength(2);
  });

  it.each(['constructor', '__proto__', 'datum.value', '"]'])(
    'takes %j for a name and a title like any other text',
    async (word) => {
      const svg = await plot(
        [
          { name: word, scores: system(1, 2) },
          { name: `${word}?`, scores: system(2, 3) },
        ],
        { title: word },
      );
      const escaped = word.replaceAll('"', '&quot;');
      const shown = texts(svg).map((text) => text.replaceAll('"', '&quot;'));
      expect(shown.filter((text) => text === escaped)).toHaveLength(2);
      expect(shown).toContain(`${escaped}?`);
      expect(curves(svg)).toHaveLength(2);
    },
  );

  it('leaves the legend to the page on request', async () => {
    const systems = [
      { name: 'first', scores: system(1, 2) },
      { name: 'second', scores: system(2, 3) },
    ];
    const svg = await plot(systems, { legend: false });
    expect(texts(svg)).not.toContain('first');
    expect(curves(svg)).toHaveLength(2);
  });

  it('stays within its axes and is monotone', async () => {
    const svg = await plot(system(3, 2), { width: 300, height: 200 });
    const [curve = []] = curves(svg);
    expect(curve.length).toBeGreaterThan(20);
    expect(curve.length).toBeLessThan(600);
    const direction = name === 'detPlot' ? 1 : -1;
    curve.forEach(([x, y], index) => {
      expect(x).toBeGreaterThanOrEqual(-0.01);
      expect(x).toBeLessThanOrEqual(300.01);
      expect(y).toBeGreaterThanOrEqual(-0.01);
      expect(y).toBeLessThanOrEqual(200.01);
      if (index === 0) return;
      const [beforeX, beforeY] = curve[index - 1]!;
      expect(x).toBeGreaterThanOrEqual(beforeX);
      // SVG's y grows downwards: errors fall, the true accept rate rises.
      expect(direction * (y - beforeY)).toBeGreaterThanOrEqual(0);
    });
  });

  it('holds no identifiers, scripts or references to elsewhere', async () => {
    const svg = await plot(system(4, 3));
    expect(svg).not.toMatch(/\sid=|<script|href|url\(/);
    expect(svg.replaceAll(/xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/https?:/);
  });

  it('takes the ink of the page on request', async () => {
    const paper = await plot(system(5, 3));
    const page = await plot(system(5, 3), { theme: 'page' });
    expect(paper).toMatch(/fill="white"/);
    expect(paper).not.toContain('currentColor');
    expect(page).toContain('currentColor');
    expect(page).not.toMatch(/fill="white"/);
  });

  it.each([
    ['a single pair of each kind', [0.9], [0.1]],
    ['perfect separation', [0.9, 0.8], [0.1, 0.2, 0.3]],
    ['all scores equal', [0.5, 0.5], [0.5, 0.5]],
    ['scores the wrong way round', [0.1, 0.2], [0.8, 0.9]],
  ])('draws %s', async (_, genuine, impostor) => {
    const svg = await plot(
      trialScoresFrom(Float64Array.from(genuine), Float64Array.from(impostor)),
    );
    expect(svg).toContain('</svg>');
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('refuses what it cannot draw', async () => {
    const scores = system(6, 2, 10, 10);
    const empty = trialScoresFrom(Float32Array.of(1), new Float32Array(0));
    await expect(plot([])).rejects.toThrow(
      `${name}: expected systems to be at least one system`,
    );
    await expect(
      plot([
        { name: 'a', scores },
        { name: 'a', scores },
      ]),
    ).rejects.toThrow(`${name}: expected systems[1].name to be`);
    await expect(plot([{ name: 'a', scores: empty }])).rejects.toThrow(
      `${name}: expected systems[0].scores.impostorPairs to be at least 1`,
    );
    await expect(plot(scores, { width: 0 })).rejects.toThrow(
      `${name}: expected width to be a number >= 100 and <= 4000`,
    );
    await expect(plot(scores, { theme: 'dark' as never })).rejects.toThrow(
      `${name}: expected theme to be 'paper' or 'page'`,
    );
    await expect(plot(scores, { legend: 1 as never })).rejects.toThrow(
      `${name}: expected legend to be true or false`,
    );
    await expect(plot(scores, { title: 7 as never })).rejects.toThrow(
      `${name}: expected title to be a string`,
    );
  });
});

describe('detPlot', () => {
  it('is a straight line of slope −1 for normal scores of equal spread', async () => {
    const scores = system(7, 3, 50_000, 50_000);
    const [curve = []] = curves(await detPlot(scores));
    // Axes are equally long and begin at the same rate; ends are noisy.
    const middle = curve.filter(([x]) => x > 150 && x < 330);
    const [first, last] = [middle[0]!, middle.at(-1)!];
    const slope = (last[1] - first[1]) / (last[0] - first[0]);
    expect(slope).toBeGreaterThan(0.85);
    expect(slope).toBeLessThan(1.15);
  });
});

describe('rocPlot', () => {
  it('begins at one false accept and ends at accepting everything', async () => {
    // 100 impostors: 10⁻² is the left edge. 9 of 10 genuine scores lead.
    const genuine = Float64Array.from({ length: 10 }, (_, i) => 2 - i / 4.4);
    const impostor = Float64Array.from({ length: 100 }, (_, i) => -i / 1000);
    const svg = await rocPlot(trialScoresFrom(genuine, impostor));
    const [curve = []] = curves(svg);
    expect(curve[0]![0]).toBeCloseTo(0, 3);
    expect(curve.at(-1)).toEqual([380, 0]);
    expect(texts(svg)).toEqual(
      expect.arrayContaining(['10⁻²', '10⁻¹', '1', '90', '100']),
    );
  });
});
