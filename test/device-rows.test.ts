import { describe, expect, it } from 'vitest';
import {
  adagrad,
  type Device,
  type LossSpecification,
  type OptimizerSpecification,
  PrototypeHead,
  sgd,
} from '../lib/index.js';
import { contract, relativeError } from './helpers/contract.js';
import { filterTiers, onDevice } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';

/*
 * How a device updates prototypes: by warps that read one, two or four elements at a time, or by blocks;
 * in float32 where a class has few pairs, else in float64. The CPU's order of summation is kept, so all
 * but the last digit is the same.
 */

interface Run {
  readonly identities: number;
  readonly dim: number;
  readonly loss: LossSpecification;
  readonly optimizer: OptimizerSpecification;
  readonly filter?: (typeof filterTiers)[number];
  readonly noise?: number;
}

/** Where the prototypes go in two steps of 40 rows. */
async function movesOf(device: Device, run: Run): Promise<Float64Array> {
  const { identities, dim, loss, optimizer, noise = 1 } = run;
  const prototypes = normalTensor(identities, dim, 1);
  const labels = randomLabels(40, identities, 2);
  const embeddings = clusteredEmbeddings(prototypes, labels, noise, 3);
  using head = new PrototypeHead({
    ...{ identities, dim, loss, optimizer, prototypes, device },
    ...(device === 'cpu' || run.filter === undefined
      ? {}
      : { filter: run.filter }),
  });
  head.stepSync(embeddings, labels);
  head.stepSync(embeddings, labels);
  const { data } = await head.prototypes();
  return Float64Array.from(data, (value, k) => value - prototypes.data[k]!);
}

/** `most`: elements with other bits, as a part of all. */
async function expectSameMoves(run: Run, most = 0.01): Promise<void> {
  const [cpu, device] = await Promise.all([
    movesOf('cpu', run),
    movesOf('auto', run),
  ]);
  expect(cpu.some((move) => move !== 0)).toBe(true);
  expect(relativeError(device, cpu)).toBeLessThan(contract.headGradient);
  const different = cpu.filter((move, k) => move !== device[k]).length;
  expect(different).toBeLessThanOrEqual(most * cpu.length);
}

const widths = [128, 192, 256, 512, 100, 31, 520];
const descent = sgd({ learningRate: 5, momentum: 0.9, weightDecay: 1e-4 });
// Wide supports, so that there are some at every width.
const sparse = lossFamilies.qMargin(1.25, 4);

describe.runIf(onDevice).each(widths)('prototypes of width %d', (dim) => {
  it.each([
    ['few pairs a class', 150, 1],
    ['many pairs a class', 9, 1],
    ['embeddings on their prototypes', 60, 0.01],
  ])('descend, %s', async (_, identities, noise) => {
    const run = { identities, dim, loss: sparse, optimizer: descent, noise };
    await expectSameMoves(run);
    await expectSameMoves({ ...run, optimizer: sgd({ learningRate: 5 }) });
  });

  it('follow Adagrad', async () => {
    const optimizer = adagrad({ learningRate: 0.1, weightDecay: 1e-4 });
    await expectSameMoves({ identities: 60, dim, loss: sparse, optimizer });
  });

  it('with all classes in every support', async () => {
    const loss = lossFamilies.cosFace(1, 32);
    const run = { identities: 60, dim, loss, optimizer: descent };
    // Their sums are in another order.
    await expectSameMoves(run, 1);
  });

  it.each(filterTiers.filter((filter) => filter.startsWith('mma')))(
    'in the format of %s',
    async (filter) => {
      const run = { identities: 60, dim, loss: sparse, optimizer: descent };
      await expectSameMoves({ ...run, filter });
    },
  );
});
