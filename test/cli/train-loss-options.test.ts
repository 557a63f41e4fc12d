import { beforeAll, expect, test } from 'vitest';
import { trainingPlan } from '../../lib/cli/sampling.js';
import { withClasses } from '../../lib/cli/training-data.js';
import type { TrainingRecipe } from '../../lib/cli/training-recipe.js';
import { openEmbeddings } from '../../lib/data/open-embeddings.js';
import {
  cosFace,
  labelsFromNpy,
  PrototypeHead,
  type PrototypeHeadOptions,
  qMargin,
  referenceFromCounts,
  sgd,
  tensor,
  writeNpy,
} from '../../lib/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();
let files: string[];
beforeAll(async () => {
  const { embeddings, labels } = await writeMadeSet(file);
  // Identities of 1 to 6 rows, so that their counts tell them apart.
  const all = await labelsFromNpy(labels);
  const split = Uint8Array.from(all, (label, row) =>
    row % 6 <= label % 6 ? 0 : 1,
  );
  const path = file('uneven.npy');
  await writeNpy(path, { type: 'uint8', data: split, dims: [split.length] });
  files = ['--embeddings', embeddings, '--labels', labels, '--split', path];
});

const [epochs, batch, seed] = [3, 32, 7];
const schedule = [
  ...['--epochs', `${epochs}`, '--batch', `${batch}`, '--seed', `${seed}`],
  ...['--lr-schedule', 'constant', '--lr', '0.1'],
];

/** The same training with the library alone: the head's steps over the rows of the plan. */
async function trainDirectly(
  options: Pick<PrototypeHeadOptions, 'loss' | 'subCentres'>,
  exponent?: number,
) {
  const [embeddings, labels, split] = [1, 3, 5].map((place) => files[place]!);
  await using dataset = await openEmbeddings(embeddings!);
  const marks = await labelsFromNpy(split!);
  const all = await labelsFromNpy(labels!);
  const rows = Int32Array.from(all.keys()).filter((row) => marks[row] === 0);
  const part = { rows, labels: rows.map((row) => all[row]!) };
  const data = withClasses(dataset, part);
  const identities = data.identities.length;
  const counts = new Int32Array(identities);
  for (const row of rows) counts[data.classes[row]!]! += 1;
  using head = new PrototypeHead({
    ...options,
    identities,
    dim: dataset.dim,
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 5e-4 }),
    seed,
    reference:
      exponent === undefined
        ? null
        : referenceFromCounts(counts, { alpha: options.loss.alpha, exponent }),
  });
  const sampler = {
    name: 'shuffled',
    blockRows: 64,
    bufferRows: null,
  } as const;
  const plan = trainingPlan(data, {
    ...{ sampler, batch, seed },
  } as unknown as TrainingRecipe);
  for (let step = 0; step < epochs * plan.stepsPerEpoch; step += 1) {
    const chosen = plan.rowsOf(step);
    const x = new Float32Array(chosen.length * dataset.dim);
    await dataset.gather(chosen, x);
    await head.step(
      tensor(x, [chosen.length, dataset.dim]),
      chosen.map((row) => data.classes[row]!),
    );
  }
  return (await head.prototypes()).data;
}

const smooth = { loss: cosFace({ labelSmoothing: 0.1 }) };
const penalised = { loss: qMargin({ interTopK: { k: 3, penalty: 0.06 } }) };
const several = { loss: qMargin(), subCentres: 3 };

test.each([
  ['--loss cosface --label-smoothing 0.1', smooth, undefined],
  ['--inter-top-k 3:0.06', penalised, undefined],
  ['--sub-centres 3', several, undefined],
  ['--logit-adjustment 0.5', { loss: qMargin() }, 0.5],
  ['--loss cosface --logit-adjustment 1', { loss: cosFace() }, 1],
])('%s is the option of the library', async (options, direct, exponent) => {
  const out = file(`${options.replaceAll(/\W+/g, '-')}.safetensors`);
  const result = await runCli([
    'train',
    ...files,
    ...schedule,
    ...options.split(' '),
    ...['--out', out],
  ]);
  expect(result).toMatchObject({ code: 0, stdout: '' });
  using head = await PrototypeHead.load(out);
  const expected = await trainDirectly(direct, exponent);
  expect((await head.prototypes()).data).toEqual(expected);
  const plain = await trainDirectly({ loss: qMargin() });
  expect(expected).not.toEqual(plain);
});

test('a resumed run must have the same options', async () => {
  const out = file('resumed.safetensors');
  const args = ['train', ...files, ...schedule, '--out', out];
  expect((await runCli(args)).code).toBe(0);
  const cases: [string[], RegExp][] = [
    [['--sub-centres', '2'], /subCentres was 1 and is now 2\n$/],
    [['--logit-adjustment', '1'], /logitAdjustment was null and is now 1\n$/],
    [['--inter-top-k', '2:0.1'], /loss was .*"interTopK":0.*"interTopK":2/],
  ];
  for (const [more, message] of cases) {
    const { code, stderr } = await runCli([...args, ...more, '--resume']);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  }
});

test('an exponent that float32 cannot hold is told by its option', async () => {
  const out = ['--out', file('never.safetensors')];
  const args = ['train', ...files, ...out, '--logit-adjustment', '500'];
  const { code, stderr } = await runCli(args);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^alphamargin: --logit-adjustment 500 is too large for identities of 1 to 6 rows: .*\n$/,
  );
});
