import { describe, expect, it } from 'vitest';
import {
  eer,
  minDcf,
  summarize,
  tarAtFar,
  trialScoresFrom,
  verificationReport,
} from '../../lib/verification/index.js';
import { normal } from './reference.js';

const next = normal(11);
const make = (distance: number) =>
  trialScoresFrom(
    Float32Array.from({ length: 200 }, () => distance + next()),
    Float32Array.from({ length: 2000 }, next),
  );
const weak = make(1.5);
const strong = make(3.5);

/** Cells of the row with a heading. */
function row(html: string, heading: string): string[] {
  const line = html
    .split('\n')
    .find((text) => text.startsWith('<tr>') && text.includes(heading))!;
  return [...line.matchAll(/<td[^>]*>(.*?)<\/td>/g)].map(([, cell]) => cell!);
}

describe('summarize', () => {
  it('holds what the single metrics say', () => {
    const summary = summarize(strong);
    expect(summary.genuinePairs).toBe(200);
    expect(summary.impostorPairs).toBe(2000);
    expect(summary.resolution).toBe(0);
    expect(summary.eer).toEqual(eer(strong));
    expect(summary.minDcf).toEqual([
      minDcf(strong, { pTarget: 0.01 }),
      minDcf(strong, { pTarget: 0.05 }),
    ]);
    expect(summary.tarAtFar).toEqual(tarAtFar(strong));
    expect(summary.tarAtFar.map(({ far }) => far)).toEqual([
      0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001,
    ]);
    expect(summary.tarAtFar[3]).toEqual({
      far: 1e-4,
      tar: null,
      reason: 'too few impostor pairs',
    });
  });

  it('is the same after JSON and back, infinite thresholds included', () => {
    const useless = trialScoresFrom(
      Float64Array.of(0, 0),
      new Float64Array(20).fill(1),
    );
    for (const scores of [weak, strong, useless]) {
      const summary = summarize(scores);
      expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
    }
    expect(summarize(useless).minDcf[0]?.threshold).toBeNull();
    expect(summarize(useless).tarAtFar[0]).toMatchObject({
      tar: 0,
      threshold: null,
    });
  });

  it('needs both kinds of trials', () => {
    const none = new Float32Array(0);
    const one = Float32Array.of(1);
    expect(() => summarize(trialScoresFrom(none, one))).toThrow(
      'summarize: expected scores.genuinePairs to be at least 1',
    );
  });
});

describe('verificationReport', () => {
  it('shows every metric of every system, the best in bold', async () => {
    const html = await verificationReport({
      title: 'Two heads',
      systems: [
        { name: 'weak', scores: weak },
        { name: 'strong', scores: strong },
      ],
    });
    const shown = (rate: number) => `${(100 * rate).toFixed(2)} %`;
    expect(row(html, 'EER')).toEqual([
      shown(eer(weak).rate),
      `<strong>${shown(eer(strong).rate)}</strong>`,
    ]);
    expect(row(html, 'p = 0.05')[0]).toBe(
      minDcf(weak, { pTarget: 0.05 }).cost.toFixed(4),
    );
    expect(row(html, 'FAR 1e-2')[1]).toBe(
      `<strong>${shown(tarAtFar(strong, [0.01])[0]!.tar!)}</strong>`,
    );
    expect(row(html, 'FAR 1e-6')).toEqual([
      'too few impostor pairs',
      'too few impostor pairs',
    ]);
    expect(row(html, 'Impostor pairs')).toEqual(['2,000', '2,000']);
    // DET, ROC, and a histogram for each system.
    expect(html.match(/<figure>/g)).toHaveLength(4);
  });

  it('marks no best value when there is nothing to compare', async () => {
    const html = await verificationReport({
      title: 'One',
      systems: [{ name: 'only', scores: weak }],
    });
    expect(html).not.toContain('<strong>');
    expect(html).not.toContain('is bold');
  });

  it('escapes all text it is given', async () => {
    const evil = '<img src=x onerror="alert(1)">&\'';
    const html = await verificationReport({
      title: evil,
      systems: [
        { name: `${evil}1`, scores: weak },
        { name: `${evil}2`, scores: strong },
      ],
      notes: [evil],
      details: { [evil]: evil },
    });
    expect(html).not.toContain('<img');
    expect(html.match(/<script/g)).toHaveLength(2);
    const escaped = '&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;&#39;';
    expect(html).toContain(`<title>${escaped}</title>`);
    expect(html).toContain(`<p>${escaped}</p>`);
    expect(html).toContain(`<dt>${escaped}</dt><dd>${escaped}</dd>`);
    expect(html).toContain(`<th scope="col">${escaped}1</th>`);
  });

  it('loads nothing from elsewhere', async () => {
    const html = await verificationReport({
      title: 'Alone',
      systems: [{ name: 'only', scores: weak }],
      notes: 'One paragraph.',
    });
    expect(html).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(html).toContain('<p>One paragraph.</p>');
    expect(html.replaceAll(/xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(
      /https?:|@import|url\(|\ssrc=|<link/,
    );
  });

  it('embeds what the chooser shows, and shows the first choice', async () => {
    const html = await verificationReport({
      title: 'Chooser',
      systems: [
        { name: 'weak', scores: weak },
        { name: 'strong', scores: strong },
      ],
    });
    const [, text] = /id="operating-points">(.*?)<\/script>/.exec(html)!;
    const { rates, cells } = JSON.parse(text!);
    // 2000 impostor pairs measure rates from 5e-4.
    expect(rates).toHaveLength(5 + 9 + 9 + 5);
    expect(rates[0]).toBe('0.05 % (1 in 2,000)');
    expect(rates[14]).toBe('1 % (1 in 100)');
    const atPercent = [weak, strong].map(
      (scores) => tarAtFar(scores, [0.01])[0]!,
    );
    expect(cells[14].slice(2, 4)).toEqual(
      atPercent.map(({ tar }) => `${(100 * tar!).toFixed(2)} %`),
    );
    expect(html).toContain('<output id="chosen" for="far">0.1 % (1 in 1,000)');
    expect(row(html, '>Threshold<')).toEqual(cells[5].slice(0, 2));
    expect(
      row(html, 'per million').every(
        (cell) => Number(cell.replace(',', '')) <= 1000,
      ),
    ).toBe(true);
  });

  it('has no choice to offer where the trials support no rate', async () => {
    const scores = trialScoresFrom(Float32Array.of(1), Float32Array.of(0));
    const html = await verificationReport({
      title: 'Tiny',
      systems: [{ name: 'only', scores }],
    });
    expect(html).toContain('Too few impostor pairs to choose a threshold by.');
    expect(html).not.toContain('<script');
  });

  it('plots the training of the systems that have a history', async () => {
    const training = [
      { epoch: 1, loss: 9, supportSize: 800 },
      { epoch: 2, loss: 4, supportSize: 12.5 },
    ];
    const page = (first?: object) =>
      verificationReport({
        title: 'Trained',
        systems: [
          { name: 'weak', scores: weak },
          { name: 'strong', scores: strong, ...first },
        ],
      });
    expect(await page()).not.toContain('<h2>Training</h2>');
    expect(await page({ training: [] })).not.toContain('<h2>Training</h2>');
    const html = await page({ training });
    const part = html.slice(html.indexOf('<h2>Training</h2>'));
    expect(part.match(/<figure>/g)).toHaveLength(2);
    expect(part).toContain('for strong"');
    expect(part).not.toContain('weak');
    // The second system's colour, as in the other plots.
    expect(part).toContain('stroke="#d9660a"');
    expect(part).not.toContain('stroke="#2f7fc1"');
    expect(part).toMatch(/>20<.*>50<.*>100<.*>200<.*>500</);
    const single = await page({ training: training.slice(0, 1) });
    expect(single).not.toMatch(/NaN|Infinity|undefined/);
  });

  it.each([
    ['equal scores', [2, 2], [2, 2]],
    ['scores of another scale', [40, 30, 7], [-80, -3]],
    ['cosines', [0.9, 0.8], [-0.2, 0.1]],
  ])('draws histograms of %s', async (_, genuine, impostor) => {
    const html = await verificationReport({
      title: 'Histograms',
      systems: [
        { name: 'weak', scores: weak },
        {
          name: 'other',
          scores: trialScoresFrom(
            Float64Array.from(genuine),
            Float64Array.from(impostor),
          ),
        },
      ],
    });
    const part = html.slice(html.indexOf('<h2>Scores</h2>'));
    expect(part.match(/fill-opacity="0.18"/g)).toHaveLength(4);
    expect(part).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('says when thresholds were binned', async () => {
    const binned = { ...weak, resolution: 2 ** -17 };
    const html = await verificationReport({
      title: 'Binned',
      systems: [{ name: 'only', scores: binned }],
    });
    expect(html).toContain('Thresholds were resolved to 7.6e-6.');
  });

  it.each([
    ['title', { title: 1 }],
    ['systems', { systems: weak }],
    ['systems[0].name', { systems: [{ name: '', scores: weak }] }],
    ['systems[0].scores', { systems: [{ name: 'a', scores: [1] }] }],
    ['notes', { notes: [1] }],
    ['notes', { notes: new Array(2 ** 32 - 1) }],
    [
      'systems[0].training',
      {
        systems: [
          { name: 'a', scores: weak, training: new Array(2 ** 32 - 1) },
        ],
      },
    ],
    [
      'systems[0].training',
      {
        systems: [
          {
            name: 'a',
            scores: weak,
            training: [{ epoch: 1, loss: Number.NaN }],
          },
        ],
      },
    ],
  ])('refuses a wrong %s', async (argument, change) => {
    const options = { title: 'x', systems: [{ name: 'a', scores: weak }] };
    await expect(
      verificationReport({ ...options, ...change } as never),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(
        `verificationReport: expected ${argument} to be`,
      ),
    });
  });
});
