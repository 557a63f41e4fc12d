import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { otherTrials, withCompared } from '../../lib/cli/compared-systems.js';
import { readResults, resultsText } from '../../lib/cli/saved-results.js';
import {
  type ReportSystem,
  summarize,
  trialScoresFrom,
} from '../../lib/verification/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { normal } from '../verification/reference.js';

const file = useTemporaryDirectory();

function system(name: string, seed: number, impostors = 900): ReportSystem {
  const next = normal(seed);
  const scores = trialScoresFrom(
    Float32Array.from({ length: 50 }, () => 1 + next()),
    Float32Array.from({ length: impostors }, next),
  );
  return { name, scores };
}

async function save(name: string, ...systems: ReportSystem[]) {
  await writeFile(file(name), resultsText('x.npy', systems));
  return file(name);
}

test('what was saved reads the same, the training included', async () => {
  const training = [{ epoch: 1, loss: 2.5, supportSize: 7 }];
  const systems = [system('a', 1), { ...system('b', 2), training }];
  const back = await readResults(await save('two.json', ...systems));
  expect(back.map(({ name }) => name)).toEqual(['a', 'b']);
  back.forEach(({ scores }, index) => {
    expect(summarize(scores)).toEqual(summarize(systems[index]!.scores));
  });
  expect(back[0]).not.toHaveProperty('training');
  expect(back[1]!.training).toEqual(training);
});

test('names that are taken get the name of their file, then its path', async () => {
  const own = [system('embeddings', 1), system('head', 2)];
  const files = [
    await save('run.json', system('embeddings', 1), system('head', 3)),
    await save('run', system('head', 4)),
    await save('again.json', system('new', 5, 800)),
  ];
  const all = await withCompared(own, files);
  expect(all.map(({ name }) => name)).toEqual([
    'embeddings',
    'head',
    'head (run)',
    `head (${files[1]})`,
    'new',
  ]);
  expect(otherTrials(all)).toEqual([
    'new was measured on other trials: 50 genuine and 800 impostor pairs',
  ]);
});

test('files that are no results, or damaged, are refused by name', async () => {
  const saved = JSON.parse(resultsText('x.npy', [system('a', 1)]));
  const [first] = saved.systems;
  const changed = (change: object) => ({
    systems: [{ ...first, scores: { ...first.scores, ...change } }],
  });
  const { thresholds, impostorCounts } = first.scores;
  const none = impostorCounts.map(() => 0);
  const cases: [unknown, RegExp][] = [
    [[], /not results of "alphamargin verify --json"/],
    [null, /not results/],
    [{ systems: [] }, /not results/],
    [{ systems: [null] }, /systems\[0\] has no name/],
    [{ systems: [{ ...first, name: ' ' }] }, /has no name/],
    [{ systems: [{ name: 'a' }] }, /holds no scores: run verify again/],
    [{ systems: [{ name: 'a', scores: null }] }, /scores of systems\[0\] are/],
    [changed({ thresholds: thresholds.slice(1) }), /are damaged/],
    [changed({ thresholds: thresholds.toReversed() }), /are damaged/],
    [changed({ thresholds: thresholds.map(String) }), /are damaged/],
    [changed({ impostorCounts: none.with(0, 0.5) }), /are damaged/],
    [changed({ resolution: -1 }), /are damaged/],
    [changed({ impostorCounts: none }), /lacks genuine or impostor pairs/],
    [{ systems: [{ ...first, training: [{}] }] }, /training is damaged/],
  ];
  for (const [content, message] of cases) {
    await writeFile(file('bad.json'), JSON.stringify(content));
    const reading = readResults(file('bad.json'));
    await expect(reading).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
    await expect(reading).rejects.toThrow(/^[^ ]*bad\.json: /);
  }
});
