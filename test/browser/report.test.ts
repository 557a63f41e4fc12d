import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tarAtFar } from '../../lib/verification/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { startChromium } from './chromium.js';
import {
  LEAST_CONTRAST,
  MISPLACED_LABELS,
  OVERFLOW,
  SMALLEST_TYPE,
} from './layout.js';
import { open, systems, type WatchedPage, writeReport } from './report-page.js';

const file = useTemporaryDirectory();
let browser: Browser;
let address: string;
beforeAll(async () => {
  browser = await startChromium();
  address = await writeReport(file('report.html'));
});
afterAll(() => browser?.close());

const looks = ([1280, 360] as const).flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

describe.each(looks)(
  '$width pixels, $colorScheme',
  ({ width, colorScheme }) => {
    const viewport = { width, height: 800 };
    let watched: WatchedPage;
    beforeAll(async () => {
      watched = await open(browser, address, { viewport, colorScheme });
    });
    afterAll(() => watched?.page.context().close());

    test('nothing overflows, is clipped or covered', async () => {
      const { page } = watched;
      expect(await page.evaluate(OVERFLOW)).toBe(0);
      expect(await page.evaluate(MISPLACED_LABELS)).toEqual([]);
      expect(await page.locator('figure svg').count()).toBe(
        2 + systems.length + 2,
      );
    });

    test('text is legible', async () => {
      const { page } = watched;
      expect(await page.evaluate(SMALLEST_TYPE)).toBeGreaterThanOrEqual(10.5);
      expect(await page.evaluate(LEAST_CONTRAST)).toBeGreaterThanOrEqual(4.5);
    });

    test('the chooser is worked by the keyboard and says what tarAtFar says', async () => {
      const { page } = watched;
      const row = (heading: string) =>
        page
          .locator('.chooser tbody tr')
          .filter({ hasText: heading })
          .locator('td')
          .allTextContents();
      const slider = page.getByRole('slider', {
        name: 'False accept rate at most',
      });
      await slider.focus();
      const seen = new Set<string>();
      for (const [key, far, text] of [
        ['Home', 5e-6, '0.0005 % (1 in 200,000)'],
        ['End', 0.5, '50 % (1 in 2)'],
        ['ArrowLeft', 0.4, '40 % (1 in 2.5)'],
      ] as const) {
        await page.keyboard.press(key);
        expect(await page.locator('#chosen').textContent()).toBe(text);
        expect(await slider.getAttribute('aria-valuetext')).toBe(text);
        const points = systems.map(({ scores }) => tarAtFar(scores, [far])[0]!);
        expect(await row('TAR')).toEqual(
          points.map(({ tar }) => `${(100 * tar!).toFixed(2)} %`),
        );
        expect(await row('False accepts in these trials')).toEqual(
          points.map((point) =>
            (point.tar === null ? 0 : point.falseAccepts).toLocaleString('en'),
          ),
        );
        seen.add((await row('Threshold')).join());
      }
      expect(seen.size).toBe(3);
    });

    test('tables that scroll sideways do so by the keyboard', async () => {
      const { page } = watched;
      const table = page.getByRole('region', { name: 'Metrics' });
      await table.focus();
      await page.keyboard.press('ArrowRight');
      const hidden = 'scrollWidth > element.clientWidth';
      const [scrolls, moved] = await Promise.all([
        table.evaluate(`(element) => element.${hidden}`),
        table.evaluate(
          '(element) => new Promise((done) => setTimeout(() => done(element.scrollLeft > 0), 400))',
        ),
      ]);
      expect(moved).toBe(scrolls);
    });

    // Last: the page has been used by then.
    test('nothing was reported, nothing else was loaded', () => {
      expect(watched.complaints).toEqual([]);
      expect(watched.requests).toEqual([address]);
    });
  },
);

test('without scripts one rate is shown, and no slider', async () => {
  const { page } = await open(browser, address, { javaScriptEnabled: false });
  expect(await page.locator('#far').isVisible()).toBe(false);
  expect(await page.locator('#chosen').textContent()).toBe(
    '0.1 % (1 in 1,000)',
  );
  expect(await page.locator('.chooser tbody td').first().isVisible()).toBe(
    true,
  );
  await page.context().close();
});
