import { expect, test } from 'vitest';
import {
  bufferRowsOf,
  type Sampler,
  SHUFFLED,
  trainingPlan,
} from '../../lib/cli/sampling.js';
import { rowsInMemory, withClasses } from '../../lib/cli/training-data.js';
import type { TrainingRecipe } from '../../lib/cli/training-recipe.js';

const COUNT = 111;

/** Every third row is of another part; labels are 100 … 118, of very different frequency. */
const rows = Int32Array.from({ length: COUNT }, (_, row) => row).filter(
  (row) => row % 3 !== 0,
);
const labels = rows.map((row) => 100 + (row % 2 === 0 ? 0 : row % 19));
const data = withClasses(rowsInMemory(new Float32Array(COUNT * 4), 4), {
  rows,
  labels,
});

const planOf = (sampler: Sampler, batch: number, seed = 3) =>
  trainingPlan(data, { sampler, batch, seed } as TrainingRecipe);

function epoch(sampler: Sampler, batch: number, number = 0) {
  const plan = planOf(sampler, batch);
  const first = number * plan.stepsPerEpoch;
  return Array.from({ length: plan.stepsPerEpoch }, (_, step) => [
    ...plan.rowsOf(first + step),
  ]);
}

const shuffledBy = (bufferRows: number): Sampler => ({
  name: 'shuffled',
  blockRows: 3,
  bufferRows,
});

test.each([
  ['as a whole', SHUFFLED],
  ['that just fits', shuffledBy(rows.length)],
  ['in buffers', shuffledBy(rows.length - 1)],
  ['in small buffers', shuffledBy(7)],
])('an epoch %s holds every row of the part once', (_, sampler) => {
  for (const batch of [1, 7, 19, rows.length, 989]) {
    const steps = epoch(sampler, batch);
    expect(steps.flat().sort((a, b) => a - b)).toEqual([...rows]);
    expect(steps.slice(0, -1).every(({ length }) => length === batch)).toBe(
      true,
    );
    expect(epoch(sampler, batch, 1)).not.toEqual(steps);
  }
});

test('a set that fits in a buffer is mixed as a whole, whatever the blocks', () => {
  expect(epoch(shuffledBy(rows.length), 7)).toEqual(epoch(SHUFFLED, 7));
  expect(epoch(shuffledBy(rows.length - 1), 7)).not.toEqual(epoch(SHUFFLED, 7));
});

test('a step does not depend on the steps asked for before', () => {
  const samplers: Sampler[] = [
    SHUFFLED,
    shuffledBy(20),
    { name: 'class-balanced', power: 0.5 },
    { name: 'identity-samples', samples: 2 },
  ];
  for (const sampler of samplers) {
    const plan = planOf(sampler, 8);
    const forwards = Array.from({ length: 40 }, (_, step) => [
      ...plan.rowsOf(step),
    ]);
    for (let step = 39; step >= 0; step -= 7) {
      expect([...planOf(sampler, 8).rowsOf(step)]).toEqual(forwards[step]);
    }
    expect([...planOf(sampler, 8, 4).rowsOf(0)]).not.toEqual(forwards[0]);
    expect(forwards.flat().every((row) => row % 3 !== 0)).toBe(true);
  }
});

test('identity-samples takes P identities, K rows of each', () => {
  for (const rowsOfStep of epoch(
    { name: 'identity-samples', samples: 4 },
    20,
  )) {
    const classes = rowsOfStep.map((row) => data.classes[row]);
    expect(new Set(classes).size).toBe(5);
    for (const identity of classes) {
      expect(classes.filter((other) => other === identity)).toHaveLength(4);
    }
  }
});

test('class-balanced with power 0 evens the identities out', () => {
  const plan = planOf({ name: 'class-balanced', power: 0 }, 100);
  const drawn = Array.from({ length: 200 }, (_, step) => [
    ...plan.rowsOf(step),
  ]).flat();
  const frequent = drawn.filter((row) => data.classes[row] === 0).length;
  // More than half of the rows are of the first of 19 identities.
  const share = data.labels.filter((label) => label === 100).length;
  expect(share / rows.length).toBeGreaterThan(0.5);
  expect(frequent / drawn.length).toBeCloseTo(1 / data.identities.length, 1);
});

test('a buffer is bounded in bytes and in rows', () => {
  expect(bufferRowsOf(SHUFFLED, 512)).toBe(16384);
  expect(bufferRowsOf(SHUFFLED, 4096)).toBe(2048);
  expect(bufferRowsOf(SHUFFLED, 1)).toBe(65536);
  expect(bufferRowsOf(SHUFFLED, 2 ** 24)).toBe(1);
  expect(bufferRowsOf({ ...SHUFFLED, bufferRows: 5 }, 512)).toBe(5);
});
