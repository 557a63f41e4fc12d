import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import {
  mostIdentities,
  type PlanPlace,
  planHead,
  totalBytes,
} from '../../lib/cli/head-plan.js';
import { planReport } from '../../lib/cli/plan-report.js';
import { adagrad, PrototypeHead, sgd } from '../../lib/index.js';
import { onDevice } from '../helpers/emulation.js';
import { lossFamilies } from '../helpers/losses.js';
import { normalTensor, randomLabels } from '../helpers/random.js';
import { runCli } from './run-cli.js';

/* The planned figures next to those of heads that exist, after calls of every kind. */

const places: [PlanPlace, object][] = onDevice
  ? [
      ['gpu', {}],
      ['gpu-int8', { filter: 'mma-int8' }],
      ['gpu-split', { filter: 'mma-split' }],
    ]
  : [
      ['cpu', {}],
      ['cpu-no-shadow', { shadow: 'none' }],
    ];

const cases: [number, number, number, number | undefined][] = [
  [1, 1, 1, undefined],
  [19, 3, 7, undefined],
  [989, 33, 19, undefined],
  [989, 33, 19, 0],
];
// The emulated device would take minutes.
if (!onDevice) cases.push([5000, 111, 64, undefined]);

describe.each(places)('a planned head, %s', (place, options) => {
  it.each(cases)(
    'C %d, D %d, B %d, budget %s',
    (identities, dim, batch, budget) => {
      const scratch = budget === undefined ? {} : { scratchBudget: budget };
      const sizes = { identities, dim, batch, ...scratch };
      const plan = planHead(place, sizes);
      const embeddings = normalTensor(batch, dim, 1);
      const labels = randomLabels(batch, identities, 2);
      for (const [optimizer, bytes] of [
        [sgd({ momentum: 0.9 }), plan.momentum],
        [adagrad(), plan.accumulators],
        [sgd(), 0],
      ] as const) {
        // Wide supports, narrow ones, and rows that stream through all classes.
        for (const [alpha, scale] of [
          [1.1, 8],
          [1.5, 30],
          [1, 16],
        ] as const) {
          using head = new PrototypeHead({
            identities,
            dim,
            loss: lossFamilies.qMargin(alpha, scale),
            optimizer,
            ...scratch,
            ...options,
          });
          head.stepSync(embeddings, labels);
          head.nearestSync(embeddings, { k: 1 });
          const memory = head.memory();
          expect(memory.prototypes).toBe(plan.prototypes + plan.shadow);
          expect(memory.optimizer).toBe(bytes);
          expect(memory.scratch).toBeGreaterThan(0);
          expect(memory.scratch).toBeLessThanOrEqual(plan.scratch);
        }
      }
    },
  );
});

describe('what fits', () => {
  it('is the last head that does', () => {
    const sizes = { dim: 512, batch: 128 };
    for (const place of ['cpu', 'gpu', 'gpu-int8', 'gpu-split'] as const) {
      const rule = 'sgd with momentum';
      const most = mostIdentities(place, sizes, rule, 80e9);
      const bytes = (identities: number) =>
        totalBytes(planHead(place, { ...sizes, identities }), rule);
      expect(bytes(most)).toBeLessThanOrEqual(80e9);
      expect(bytes(most + 1)).toBeGreaterThan(80e9);
      expect(mostIdentities(place, sizes, rule, 1000)).toBe(0);
    }
  });

  it('is printed', async () => {
    const { stdout, code } = await runCli(['info', '--plan', '10000000,512']);
    expect(code).toBe(0);
    expect(stdout).toContain('A head of 10,000,000 identities, width 512');
    expect(stdout).toMatch(/prototypes and norms( +20\.6 GB){5}/);
    expect(stdout).toMatch(/copy for the filter +5\.20 GB +0\.00 MB +10\.2 GB/);
    expect(stdout).toMatch(/Most identities in [\d.]+ GB, this machine:/);
  });

  it('counts sub-centres', async () => {
    const lines = async (...args: string[]) =>
      (await runCli(['info', '--plan', ...args])).stdout.split('\n');
    const three = await lines('100000,512', '--sub-centres', '3');
    expect(three[0]).toBe(
      'A head of 100,000 identities with 3 sub-centres each, width 512, batches of 128',
    );
    const plain = await lines('300000,512');
    const own = (all: string[]) => all.slice(1, 9);
    expect(own(three)).toEqual(own(plain));
    const most = (all: string[]) =>
      all
        .slice(11)
        .flatMap((line) => line.match(/\b\d[\d,]{5,}/g) ?? [])
        .map((text) => Number(text.replaceAll(',', '')));
    expect(most(three)).toEqual(most(plain).map((n) => Math.floor(n / 3)));
    expect(most(three).length).toBeGreaterThan(5);
  });

  it('is what the documentation says', async () => {
    const sizes = { identities: 10_000_000, dim: 512, batch: 1024 };
    const printed = planReport(sizes, [])
      .slice(3, 9)
      .map((line) => line.split(/ {2,}/));
    const page = new URL('../../docs/command-line.md', import.meta.url);
    const text = await readFile(page, 'utf8');
    const [table = ''] = /\| 10 million(?:.*\n)+?\n/.exec(text) ?? [];
    const rows = table.trim().split('\n').slice(2);
    const cells = rows.map((row) => row.split('|').slice(1, -1));
    expect(cells.map((row) => row.map((cell) => cell.trim()))).toEqual(printed);
  });
});
