import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import {
  type ReportSystem,
  trialScoresFrom,
  verificationReport,
} from '../../lib/verification/index.js';
import { normal } from '../verification/reference.js';

const next = normal(5);

function system(name: string, distance: number, epochs: number): ReportSystem {
  const cosine = (mean: number) =>
    Math.max(-1, Math.min(1, mean + 0.15 * next()));
  return {
    name,
    scores: trialScoresFrom(
      Float32Array.from({ length: 3000 }, () => cosine(distance)),
      Float32Array.from({ length: 200_000 }, () => cosine(0)),
    ),
    training: Array.from({ length: epochs }, (_, index) => ({
      epoch: index + 1,
      loss: 30 * Math.exp(-index / 3),
      supportSize: 2 + 4000 * Math.exp(-index),
    })),
  };
}

/** Systems with what a layout may stumble over: long names, one epoch, none. */
export const systems: readonly ReportSystem[] = [
  system('embeddings', 0.3, 0),
  system('Q-Margin', 0.6, 15),
  system('a-name-as-long-as-those-that-experiments-get_seed-0', 0.55, 1),
  system('ArcFace with a scale of 64 and a margin of 0.5 radians', 0.5, 12),
];

/** Writes the report that the tests open. */
export async function writeReport(file: string): Promise<string> {
  const html = await verificationReport({
    title: 'Verification on features-of-a-file-with-a-long-name.npy',
    systems,
    notes: 'One of these systems was measured on other trials.',
    details: { 'training identities': 500, seed: 0 },
  });
  await writeFile(file, html);
  return pathToFileURL(file).href;
}

/** A page, and what it complained of or asked for. */
export interface WatchedPage {
  readonly page: Page;
  readonly complaints: string[];
  readonly requests: string[];
}

/** Opens an address in a context of its own, listening from the start. */
export async function open(
  browser: Browser,
  address: string,
  options: BrowserContextOptions,
): Promise<WatchedPage> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(address);
  return { page, complaints, requests };
}
