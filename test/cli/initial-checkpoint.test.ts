import { readFile, writeFile } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { startFrom } from '../../lib/cli/initial-checkpoint.js';
import { SHUFFLED } from '../../lib/cli/sampling.js';
import { syntheticIdentities } from '../../lib/cli/synthetic-identities.js';
import { train } from '../../lib/cli/training.js';
import {
  loadTraining,
  saveTraining,
} from '../../lib/cli/training-checkpoint.js';
import { inOrder, withClasses } from '../../lib/cli/training-data.js';
import type { TrainingRecipe } from '../../lib/cli/training-recipe.js';
import { TrainingState } from '../../lib/cli/training-state.js';
import {
  adagrad,
  cosFace,
  openSafetensors,
  PrototypeHead,
  qMargin,
  sgd,
} from '../../lib/index.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { setOptions, writeMadeSet } from './made-set.js';
import { runCli } from './run-cli.js';

const file = useTemporaryDirectory();

const sizes = { identities: 7, samplesPerIdentity: 5, dim: 9, seed: 2 };
const data = syntheticIdentities(sizes, 0);

const first: TrainingRecipe = {
  loss: qMargin({ alpha: 1.5, scale: 10, margin: 0.1 }),
  subCentres: 1,
  logitAdjustment: null,
  optimizer: sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
  epochs: 2,
  batch: 10,
  sampler: SHUFFLED,
  seed: 5,
  noise: 0,
  learningRateSchedule: 'linear',
  warmup: 0,
  marginRamp: null,
  reinitializeAt: null,
  projection: { dim: 6, start: 'random', learningRate: 0.05, momentum: 0.9 },
};

const second: TrainingRecipe = {
  ...first,
  loss: cosFace({ scale: 16, margin: 0.4 }),
  optimizer: adagrad({ learningRate: 0.01 }),
  seed: 8,
  learningRateSchedule: 'exp',
};

/** Trains by a recipe and writes the checkpoint. */
async function write(name: string, recipe: TrainingRecipe) {
  const state = TrainingState.start(data, recipe, 'cpu');
  await train(state, data, recipe);
  await saveTraining(file(name), state, data, recipe);
  state.dispose();
  return file(name);
}

let projected: string;
let several: string;
beforeAll(async () => {
  projected = await write('projected.safetensors', first);
  several = await write('several.safetensors', {
    ...first,
    subCentres: 3,
    projection: null,
  });
});

/** Prototypes of a checkpoint. */
async function prototypesOf(path: string) {
  using head = await PrototypeHead.load(path, { device: 'cpu' });
  return await head.prototypes();
}

test('prototypes and projection are taken, the state of the update rule is not', async () => {
  const state = await startFrom(projected, data, second, 'cpu');
  const prototypes = await prototypesOf(projected);
  expect(await state.head.prototypes()).toEqual(prototypes);
  const reader = await openSafetensors(projected);
  const weight = new Float32Array(6 * 9);
  await reader.readRows('projection.weight', 0, weight);
  await reader.close();
  expect(state.projection?.weight).toEqual(weight);
  expect(state.projection?.momentum.every((value) => value === 0)).toBe(true);
  expect(state).toMatchObject({ step: 0, history: [] });

  // Steps of momentum and accumulators from zero, as of a head that the library makes.
  using direct = new PrototypeHead({
    ...{ identities: 7, dim: 6, prototypes, device: 'cpu' },
    ...{ loss: second.loss, optimizer: second.optimizer },
  });
  const batches = inOrder(data);
  for await (const { embeddings, labels } of batches) {
    const x = state.projection!.apply(
      embeddings.data as Float32Array,
      labels.length,
    );
    const inputs = { data: x, dims: [labels.length, 6] };
    const own = await state.head.step(inputs, labels);
    expect(own.losses).toEqual((await direct.step(inputs, labels)).losses);
  }
  expect(await state.head.prototypes()).toEqual(await direct.prototypes());
  state.dispose();
});

test('stopped and resumed, it ends in the same bits', async () => {
  const whole = await startFrom(projected, data, second, 'cpu');
  await train(whole, data, second);
  const stopped = await startFrom(projected, data, second, 'cpu');
  await train(stopped, data, second, { shouldStop: () => true });
  const path = file('stopped.safetensors');
  await saveTraining(path, stopped, data, second);
  const resumed = await loadTraining(path, data, second, 'cpu');
  expect(resumed.from).toEqual({ path: projected, projection: 'taken' });
  await train(resumed, data, second);
  expect(await resumed.head.prototypes()).toEqual(
    await whole.head.prototypes(),
  );
  expect(resumed.projection?.weight).toEqual(whole.projection?.weight);
  for (const state of [whole, stopped, resumed]) state.dispose();
});

test('sub-centres are taken; a projection is made where there was none', async () => {
  const recipe = {
    ...second,
    subCentres: 3,
    projection: { ...first.projection!, dim: 9 },
  };
  const state = await startFrom(several, data, recipe, 'cpu');
  expect(await state.head.prototypes()).toEqual(await prototypesOf(several));
  expect(state.projection).toMatchObject({ inputs: 9, outputs: 9 });
  expect(state.from).toEqual({ path: several, projection: 'none' });
  state.dispose();
});

test('what does not fit is refused with what was expected and received', async () => {
  const plain = { ...second, projection: null };
  const fewer = syntheticIdentities({ ...sizes, identities: 6 }, 0);
  const others = withClasses(data.source, {
    rows: data.rows,
    labels: data.labels.map((label) => (label < 4 ? label : label + 1)),
  });
  const narrow = { ...second, projection: { ...first.projection!, dim: 5 } };
  const cases: [string, typeof data, TrainingRecipe, RegExp][] = [
    [projected, data, narrow, /projection from 9 to 5 but received 9 to 6$/],
    [projected, data, plain, /prototypes of width 9 but received 6$/],
    [several, data, plain, /expected --sub-centres 1 but received 3$/],
    [projected, fewer, second, /expected 6 identities but received 7$/],
    [
      projected,
      { ...data, ...others },
      second,
      /cannot start from it: expected class 4 to be the identity 5 but received 4$/,
    ],
  ];
  for (const [path, set, recipe, message] of cases) {
    const failure = await startFrom(path, set, recipe, 'cpu').catch(
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ code: 'ERR_CHECKPOINT' });
    expect((failure as Error).message).toMatch(message);
  }
});

test('a damaged prototype, identity or weight is found', async () => {
  const reader = await openSafetensors(projected);
  const entries = ['prototypes', 'train.identities', 'projection.weight'].map(
    (name) => reader.tensor(name),
  );
  await reader.close();
  const bytes = await readFile(projected);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  for (const { name, begin } of entries) {
    const damaged = Buffer.from(bytes);
    damaged[start + begin]! ^= 1;
    await writeFile(file('damaged.safetensors'), damaged);
    await expect(
      startFrom(file('damaged.safetensors'), data, second, 'cpu'),
    ).rejects.toThrow(name);
  }
});

test('train --init starts from a checkpoint and says so', async () => {
  const set = await writeMadeSet(file);
  const run = (...more: string[]) =>
    runCli(['train', ...setOptions(set), '--epochs', '2', ...more]);
  const [a, b] = [file('a.safetensors'), file('b.safetensors')];
  const project = ['--project', '12'];
  expect((await run(...project, '--out', a)).code).toBe(0);
  const args = [...project, '--init', a, '--loss', 'cosface', '--out', b];
  // So small a rate that nothing moves: what was taken is in the checkpoint.
  const still = ['--lr', '1e-30', '--log', file('b.json')];
  const started = await run(...args, ...still);
  expect(started).toMatchObject({ code: 0, stdout: '' });
  expect(started.stderr).toMatch(
    /; starting from the prototypes and projection of \S*a\.safetensors\n/,
  );
  using from = await PrototypeHead.load(a);
  using to = await PrototypeHead.load(b);
  expect(await to.prototypes()).toEqual(await from.prototypes());
  expect(to.loss.name).toBe('cosface');
  const log = JSON.parse(await readFile(file('b.json'), 'utf8'));
  expect(log.from).toEqual({ path: a, projection: 'taken' });

  // Stopped, it goes on with --resume alone. Windows has no signals to stop it by.
  let sent = false;
  const long = ['train', ...setOptions(set), '--epochs', '400', ...project];
  const parts = ['--out', file('parts.safetensors')];
  const stopped = await runCli(
    [...long, '--init', a, ...parts],
    (child, stderr) => {
      if (!sent && stderr.includes('epoch 3/400')) sent = child.kill('SIGINT');
    },
  );
  if (process.platform !== 'win32') {
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(
      /with --resume in place of --init to go on\n$/,
    );
  }

  const wrong = await run('--init', a, '--out', file('c.safetensors'));
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(
    /^alphamargin: \S*a\.safetensors: cannot start from it: expected prototypes of width 16 but received 12\n$/,
  );
  const itself = await run(...project, '--init', a, '--out', a, '--overwrite');
  expect(itself.code).toBe(2);
  expect(itself.stderr).toMatch(/--out \S* would replace --init/);
});
