import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { writeTrialScores } from '../../lib/cli/trial-scores-file.js';
import {
  embeddingsFromNpy,
  labelsFromNpy,
  openSafetensors,
  type Tensor,
  tensor,
  writeNpy,
} from '../../lib/index.js';
import {
  normalizeScores,
  readTrials,
  summarize,
  type TrialList,
  trialCosines,
  trialScoresFromList,
} from '../../lib/verification/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { type MadeSet, setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
const TEST_ROWS = 60;
const DIM = 16;
let set: MadeSet;
/** The test rows, and a row of each training identity. */
let embeddings: Tensor;
let cohort: Tensor;
let listed: string[];
let named: string[];

beforeAll(async () => {
  set = await writeMadeSet(file);
  const { data } = await embeddingsFromNpy(set.embeddings);
  const rows = data.length / DIM;
  const last = data.slice(-TEST_ROWS * DIM) as Float32Array;
  embeddings = tensor(last, [TEST_ROWS, DIM]);
  const strangers = Float32Array.from({ length: 20 * DIM }, (_, index) => {
    const [member, k] = [Math.floor(index / DIM), index % DIM];
    return data[6 * member * DIM + k]!;
  });
  cohort = tensor(strangers, [20, DIM]);
  expect(rows).toBe(120 + TEST_ROWS);
  await writeNpy(file('test.npy'), embeddings as Tensor<'float32'>);
  await writeNpy(file('cohort.npy'), cohort as Tensor<'float32'>);
  const names = Array.from({ length: TEST_ROWS }, (_, row) => `u${row}`);
  await writeFile(file('names.txt'), `${names.join('\n')}\n`);
  // Every third pair, with the spaces, blank lines and line ends that lists may have.
  const lines: string[] = [];
  for (let a = 0; a < TEST_ROWS; a += 1) {
    for (let b = 0; b < a; b += 3) {
      const label = Math.floor(a / 6) === Math.floor(b / 6);
      lines.push(`u${a}\tu${b}  ${label ? 'target' : 'nontarget'}`);
    }
  }
  await writeFile(file('trials.txt'), `\ufeff${lines.join('\r\n')}\r\n\r\n`);
  listed = ['--embeddings', file('test.npy'), '--trials', file('trials.txt')];
  named = [...listed, '--names', file('names.txt')];
});

/** Scores of the listed trials with the library alone: cosines, and normalised. */
async function scoresOf(x: Tensor, strangers: Tensor, top: number) {
  const trials = await readTrials(file('trials.txt'));
  const names = Array.from({ length: TEST_ROWS }, (_, row) => `u${row}`);
  const cosines = await trialCosines(x, { trials, names });
  const normalized = await normalizeScores({
    ...{ scores: cosines, trials, names, embeddings: x },
    ...{ cohort: strangers, top },
  });
  return { trials, cosines, normalized };
}

const summaryOf = (
  scores: Float32Array | Float64Array,
  trials: Pick<TrialList, 'genuine'>,
) => JSON.parse(JSON.stringify(summarize(trialScoresFromList(scores, trials))));

async function systemsIn(path: string) {
  const { systems } = JSON.parse(await readFile(path, 'utf8'));
  return systems as { name: string; summary: unknown; training?: unknown }[];
}

test('--cohort and --scores are normalizeScores and trialCosines', async () => {
  const result = await runCli([
    ...['verify', ...named, '--cohort', file('cohort.npy')],
    ...['--cohort-top', '5', '--scores', file('scores.txt')],
    ...['--json', file('r.json'), '--report', file('r.html')],
  ]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(result.stdout).toMatch(/^embeddings, AS-norm /m);
  const { trials, cosines, normalized } = await scoresOf(embeddings, cohort, 5);
  const systems = await systemsIn(file('r.json'));
  expect(systems.map(({ name }) => name)).toEqual([
    'embeddings',
    'embeddings, AS-norm',
  ]);
  expect(systems[0]!.summary).toEqual(summaryOf(cosines, trials));
  expect(systems[1]!.summary).toEqual(summaryOf(normalized, trials));
  // Each line as in the list, then the scores, in all their bits.
  const lines = (await readFile(file('scores.txt'), 'utf8')).split('\n');
  const list = (await readFile(file('trials.txt'), 'utf8')).trim();
  const expected = list
    .split('\r\n')
    .map((line, trial) => `${line} ${cosines[trial]} ${normalized[trial]}`);
  expect(lines).toEqual([...expected, '']);
});

test('a cohort that counts as a whole is S-norm, and the default', async () => {
  const args = ['verify', ...named, '--cohort', file('cohort.npy')];
  const json = ['--json', file('s.json')];
  expect((await runCli([...args, ...json])).code).toBe(0);
  const systems = await systemsIn(file('s.json'));
  const { trials, normalized } = await scoresOf(embeddings, cohort, 20);
  expect(systems[1]).toMatchObject({ name: 'embeddings, S-norm' });
  expect(systems[1]!.summary).toEqual(summaryOf(normalized, trials));
});

test('a head projects the cohort, too', async () => {
  const out = file('head.safetensors');
  const recipe = ['--project', '8', '--epochs', '2', '--out', out];
  expect((await runCli(['train', ...setOptions(set), ...recipe])).code).toBe(0);
  const reader = await openSafetensors(out);
  const weight = new Float32Array(8 * DIM);
  await reader.readRows('projection.weight', 0, weight);
  await reader.close();
  const result = await runCli([
    ...['verify', ...named, '--head', out, '--cohort', file('cohort.npy')],
    ...['--cohort-top', '5', '--scores', file('four.txt')],
    ...['--json', file('h.json')],
  ]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  const systems = await systemsIn(file('h.json'));
  expect(systems.map(({ name }) => name)).toEqual([
    'embeddings',
    'embeddings, AS-norm',
    'head',
    'head, AS-norm',
  ]);
  // The history of the training is shown once.
  expect(systems.map(({ training }) => training !== undefined)).toEqual([
    false,
    false,
    true,
    false,
  ]);
  const project = ({ data, dims: [rows = 0] }: Tensor) =>
    tensor(
      Float32Array.from({ length: rows * 8 }, (_, index) => {
        const [row, k] = [Math.floor(index / 8), index % 8];
        let sum = 0;
        for (let d = 0; d < DIM; d += 1) {
          sum += weight[k * DIM + d]! * (data[row * DIM + d] as number);
        }
        return sum;
      }),
      [rows, 8],
    );
  const { normalized } = await scoresOf(
    project(embeddings),
    project(cohort),
    5,
  );
  const lines = (await readFile(file('four.txt'), 'utf8')).trimEnd();
  for (const [trial, line] of lines.split('\n').entries()) {
    const fields = line.split(/[ \t]+/);
    expect(fields).toHaveLength(3 + 4);
    expect(Number(fields[6])).toBeCloseTo(normalized[trial]!, 3);
  }
});

test('labels make all pairs, and errors name rows of the file', async () => {
  const args = ['verify', ...setOptions(set), '--cohort-top', '5'];
  const json = ['--cohort', file('cohort.npy'), '--json', file('l.json')];
  expect(await runCli([...args, ...json])).toMatchObject({ code: 0 });
  const labels = await labelsFromNpy(set.labels);
  const pairs = Array.from({ length: TEST_ROWS }, (_, a) =>
    Array.from({ length: TEST_ROWS - 1 - a }, (_, b) => [a, a + 1 + b]),
  ).flat();
  const own = labels.slice(-TEST_ROWS);
  const trials = {
    genuine: Uint8Array.from(pairs, ([a, b]) => +(own[a!] === own[b!])),
    enrolment: Int32Array.from(pairs, ([a]) => a!),
    test: Int32Array.from(pairs, ([, b]) => b!),
  };
  const scores = await trialCosines(embeddings, { trials });
  const given = { scores, trials, embeddings, cohort, top: 5 };
  const systems = await systemsIn(file('l.json'));
  expect(systems[0]!.summary).toEqual(summaryOf(scores, trials));
  expect(systems[1]!.summary).toEqual(
    summaryOf(await normalizeScores(given), trials),
  );

  const same = Float32Array.from({ length: 2 * DIM }, (_, k) => +(k % DIM > 0));
  await writeNpy(file('same.npy'), {
    ...{ type: 'float32', data: same, dims: [2, DIM] },
  });
  const repeated = await runCli([...args, '--cohort', file('same.npy')]);
  expect(repeated).toMatchObject({ code: 1, stdout: '' });
  // The test rows are the last 60 of 180.
  expect(repeated.stderr).toMatch(/cosines with embeddings row 120 to have/);
});

test('cohorts that cannot be used are refused in one line', async () => {
  const array = async (rows: number, dim: number, value: number) => {
    const data = new Float32Array(rows * dim).fill(value);
    await writeNpy(file('c.npy'), { type: 'float32', data, dims: [rows, dim] });
    return runCli(['verify', ...named, '--cohort', file('c.npy')]);
  };
  const cases: [number, number, number, RegExp][] = [
    [3, 8, 1, /c\.npy: a cohort of .* rows of 16, .* needed; it holds 3 of 8/],
    [1, DIM, 1, /it holds 1 of 16\n$/],
    [3, DIM, 0, /c\.npy: row 0 \(counted from 0\) has norm 0/],
  ];
  for (const [rows, dim, value, message] of cases) {
    const { code, stdout, stderr } = await array(rows, dim, value);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^alphamargin: [^\n]*\n$/);
  }
});

test('a list that holds other trials the second time is refused', async () => {
  // As a pipe does, which is empty then.
  await writeFile(file('empty.txt'), '\n');
  await expect(
    writeTrialScores(file('never.txt'), file('empty.txt'), [
      Float32Array.of(0.5, 0.25),
    ]),
  ).rejects.toThrow(
    /held 2 trials .* and holds 0 now; --scores reads it twice/,
  );
  await expect(readFile(file('never.txt'))).rejects.toThrow('ENOENT');
});
