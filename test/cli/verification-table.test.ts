import { expect, test } from 'vitest';
import { verificationTable } from '../../lib/cli/verification-table.js';
import { summarize, trialScoresFrom } from '../../lib/verification/index.js';

const impostor = Float32Array.from({ length: 1000 }, (_, index) => index / 1e4);
const good = summarize(trialScoresFrom(Float32Array.of(0.9, 0.8), impostor));
const poor = summarize(
  trialScoresFrom(Float32Array.of(0.9, 0.05005), impostor),
);

test('one system a row, columns aligned, rates that cannot be measured say so', () => {
  const table = verificationTable([
    { name: 'good', summary: good },
    { name: 'poorer', summary: poor },
  ]);
  const lines = table.split('\n');
  expect(lines[0]).toBe('TAR@FAR over 2 genuine and 1000 impostor pairs');
  expect(lines[1]).toMatch(
    /^ +@1e-1 +@1e-2 +@1e-3 +@1e-4 +@1e-5 +@1e-6 +EER +minDCF 0.01 +minDCF 0.05$/,
  );
  expect(lines[2]).toMatch(/^good +1.0000 +1.0000 +1.0000 +too few +too few/);
  expect(lines[3]).toMatch(/^poorer +0.5000 +0.5000 +0.5000 +too few/);
  expect(new Set(lines.slice(1, 4).map((line) => line.length)).size).toBe(1);
  expect(lines[4]).toMatch(/^too few: too few impostor pairs/);
});

test('only the rates asked for are shown', () => {
  const systems = [{ name: 'good', summary: good }];
  const table = verificationTable(systems, [1e-1, 1e-2]);
  expect(table.split('\n')).toHaveLength(3);
  expect(table).not.toMatch(/1e-3|too few/);
});
