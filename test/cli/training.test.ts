import { expect, test } from 'vitest';
import { SHUFFLED } from '../../lib/cli/sampling.js';
import { syntheticIdentities } from '../../lib/cli/synthetic-identities.js';
import { train } from '../../lib/cli/training.js';
import {
  loadTraining,
  saveTraining,
} from '../../lib/cli/training-checkpoint.js';
import { rowsInMemory, withClasses } from '../../lib/cli/training-data.js';
import type { TrainingRecipe } from '../../lib/cli/training-recipe.js';
import { TrainingState } from '../../lib/cli/training-state.js';
import { a3m, arcFace, cosFace } from '../../lib/loss-specification.js';
import { adagrad, sgd } from '../../lib/optimizer.js';
import { useTemporaryDirectory } from '../io/temporary-directory.js';

const file = useTemporaryDirectory();

const data = syntheticIdentities(
  { identities: 7, samplesPerIdentity: 5, dim: 9, seed: 2 },
  0,
);

const recipe: TrainingRecipe = {
  loss: a3m({ alpha: 1.5, scale: 10, margin: 0.1 }),
  subCentres: 1,
  logitAdjustment: null,
  optimizer: sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
  epochs: 3,
  batch: 10,
  sampler: SHUFFLED,
  seed: 5,
  noise: 0.3,
  learningRateSchedule: 'linear',
  warmup: 1,
  marginRamp: '1:2',
  reinitializeAt: 2,
  projection: {
    dim: 6,
    start: 'random',
    learningRate: 0.05,
    momentum: 0.9,
  },
};

/** Everything the next step depends on, in bits. */
async function bitsOf(state: TrainingState) {
  const prototypes = await state.head.prototypes();
  return {
    prototypes: prototypes.data,
    weight: state.projection?.weight,
    momentum: state.projection?.momentum,
    sums: state.sums,
    history: state.history.map(({ seconds: _, ...record }) => record),
  };
}

const recipes: [string, TrainingRecipe][] = [
  ['sgd with a projection', recipe],
  ['adagrad', { ...recipe, optimizer: adagrad({ learningRate: 0.05 }) }],
  ['no projection', { ...recipe, projection: null }],
  ['three sub-centres', { ...recipe, subCentres: 3 }],
  [
    'a measure from the counts, a penalty and smoothing',
    {
      ...recipe,
      loss: arcFace({
        scale: 10,
        margin: 0.1,
        labelSmoothing: 0.1,
        interTopK: { k: 2, penalty: 0.1 },
      }),
      logitAdjustment: 0.5,
    },
  ],
];

test.each(recipes)(
  'stopped after any step, %s ends in the same bits',
  async (_, recipe) => {
    const whole = TrainingState.start(data, recipe, 'cpu');
    expect(await train(whole, data, recipe)).toBe(true);
    expect(whole.step).toBe(12);
    const expected = await bitsOf(whole);
    whole.dispose();
    for (let stopAfter = 1; stopAfter < 12; stopAfter += 1) {
      const first = TrainingState.start(data, recipe, 'cpu');
      const stopped = await train(first, data, recipe, {
        shouldStop: () => first.step === stopAfter,
      });
      expect(stopped).toBe(false);
      const path = file(`stopped-${stopAfter}.safetensors`);
      await saveTraining(path, first, data, recipe);
      first.dispose();
      const second = await loadTraining(path, data, recipe, 'cpu');
      expect(second.step).toBe(stopAfter);
      expect(await train(second, data, recipe)).toBe(true);
      expect(await bitsOf(second)).toEqual(expected);
      second.dispose();
    }
  },
);

test('a checkpoint from before there were sub-centres goes on without', async () => {
  const { subCentres: _, logitAdjustment: __, ...older } = recipe;
  const state = TrainingState.start(data, recipe, 'cpu');
  const path = file('older.safetensors');
  await saveTraining(path, state, data, older as TrainingRecipe);
  state.dispose();
  const resumed = await loadTraining(path, data, recipe, 'cpu');
  expect(resumed.head.subCentres).toBe(1);
  resumed.dispose();
  const other = { ...recipe, subCentres: 2 };
  await expect(loadTraining(path, data, other, 'cpu')).rejects.toThrow(
    'subCentres was 1 and is now 2',
  );
});

test('training lowers the loss, and the reports add up', async () => {
  const plain: TrainingRecipe = {
    ...recipe,
    loss: cosFace({ scale: 16, margin: 0.1 }),
    epochs: 20,
    marginRamp: null,
    reinitializeAt: null,
  };
  const state = TrainingState.start(data, plain, 'cpu');
  let rows = 0;
  await train(state, data, plain, {
    onStep(report) {
      rows += report.rows;
      expect(report.steps).toBe(80);
      expect(report.epoch).toBe(Math.ceil(report.step / 4));
      // Softmax: every class is in the support.
      expect(report).toMatchObject({ supportSize: 7, inactiveShare: 0 });
    },
  });
  state.dispose();
  expect(rows).toBe(20 * 35);
  expect(state.history).toHaveLength(20);
  expect(state.history.at(-1)!.loss).toBeLessThan(state.history[0]!.loss / 2);
});

test('labels of any value become dense classes in ascending order', () => {
  const source = rowsInMemory(new Float32Array(6), 1);
  const part = withClasses(source, {
    rows: Int32Array.of(0, 1, 2, 4),
    labels: Int32Array.of(700, 3, 700, 12),
  });
  expect([...part.identities]).toEqual([3, 12, 700]);
  // Rows of other parts belong to no class.
  expect([...part.classes]).toEqual([2, 0, 2, -1, 1, -1]);
});

test('data that becomes NaN ends the run with the typed error', async () => {
  const features = data.features.slice();
  features[8] = Number.NaN;
  const state = TrainingState.start(data, recipe, 'cpu');
  const run = train(
    state,
    { ...data, source: rowsInMemory(features, 9) },
    recipe,
  );
  await expect(run).rejects.toMatchObject({ code: 'ERR_NON_FINITE' });
  state.dispose();
});
