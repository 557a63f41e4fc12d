import { describe, expect, it } from 'vitest';
import {
  adagrad,
  type LossSpecification,
  type OptimizerSpecification,
  PrototypeHead,
  sgd,
  tensor,
} from '../lib/index.js';
import { contract, relativeError } from './helpers/contract.js';
import { lossFamilies, orders } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';

/** Dense float64 training; prototypes and optimiser state are kept as float32, as a head's are. */
class ReferenceTraining {
  readonly prototypes: Float32Array;
  readonly #velocity: Float32Array;
  readonly #accumulator: Float32Array;
  readonly #dim: number;
  readonly #loss: LossSpecification;

  constructor(loss: LossSpecification, initial: Float32Array, dim: number) {
    this.prototypes = initial.slice();
    this.#velocity = new Float32Array(initial.length);
    this.#accumulator = new Float32Array(initial.length / dim);
    this.#dim = dim;
    this.#loss = loss;
  }

  /** One step; returns the identities it touched: those with a gradient from some row. */
  step(
    optimizer: OptimizerSpecification,
    embeddings: Float32Array,
    labels: Int32Array,
  ): Set<number> {
    const { prototypes } = this;
    const dim = this.#dim;
    const { gradPrototypes, rows } = referenceHead(this.#loss, {
      embeddings,
      prototypes,
      labels,
      dim,
    });
    const touched = new Set<number>();
    for (const [i, { posterior, loss }] of rows.entries()) {
      if (loss === 0 && posterior[labels[i]!]! === 1) continue;
      touched.add(labels[i]!);
      posterior.forEach((p, j) => {
        if (p > 0) touched.add(j);
      });
    }
    const { momentum, weightDecay, learningRate, epsilon } = optimizer;
    const { initialAccumulator } = optimizer;
    for (const j of touched) {
      const gradient = Array.from({ length: dim }, (_, k) => {
        const at = j * dim + k;
        return gradPrototypes[at]! + weightDecay * prototypes[at]!;
      });
      this.#accumulator[j]! +=
        gradient.reduce((sum, g) => sum + g ** 2, 0) / dim;
      const root = Math.sqrt(initialAccumulator + this.#accumulator[j]!);
      gradient.forEach((g, k) => {
        const at = j * dim + k;
        this.#velocity[at] = momentum * this.#velocity[at]! + g;
        prototypes[at]! -=
          optimizer.kind === 'sgd'
            ? learningRate * this.#velocity[at]!
            : (learningRate * g) / (root + epsilon);
      });
    }
    // What a rule does not keep is gone after its step.
    if (optimizer.kind !== 'sgd' || momentum === 0) this.#velocity.fill(0);
    if (optimizer.kind !== 'adagrad') this.#accumulator.fill(0);
    return touched;
  }
}

const [identities, dim, batch] = [111, 19, 7] as const;
const initial = normalTensor(identities, dim, 1);

function batchOf(step: number, prototypes = initial) {
  const labels = randomLabels(batch, identities, step);
  const embeddings = clusteredEmbeddings(prototypes, labels, 0.9, 100 + step);
  return { labels, embeddings };
}

/**
 * Steps of a head and of the reference, by one rule or by one for each step; returns what was touched
 * on the way.
 */
async function compareTraining(
  loss: LossSpecification,
  rule: OptimizerSpecification | readonly OptimizerSpecification[],
  prototypes = initial,
  steps = 10,
): Promise<Set<number>> {
  const ruleOf = (step: number) => ('kind' in rule ? rule : rule[step]!);
  const dim = prototypes.dims[1]!;
  using head = new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer: ruleOf(0),
    prototypes,
  });
  const reference = new ReferenceTraining(loss, prototypes.data, dim);
  const everTouched = new Set<number>();
  for (let step = 0; step < steps; step += 1) {
    const { labels, embeddings } = batchOf(step, prototypes);
    const optimizer = ruleOf(step);
    head.optimizer = optimizer;
    const { stats } = head.stepSync(embeddings, labels);
    const touched = reference.step(optimizer, embeddings.data, labels);
    expect(stats.touchedPrototypes).toBe(touched.size);
    for (const j of touched) everTouched.add(j);
  }
  const trained = (await head.prototypes()).data;
  const moved = (values: Float32Array) =>
    Float64Array.from(values, (value, k) => value - prototypes.data[k]!);
  expect(
    relativeError(moved(trained), moved(reference.prototypes)),
  ).toBeLessThanOrEqual(contract.headGradient);
  for (let j = 0; j < identities; j += 1) {
    const row = (values: Float32Array) => [
      ...values.subarray(j * dim, (j + 1) * dim),
    ];
    if (everTouched.has(j)) {
      expect(row(trained)).not.toEqual(row(prototypes.data));
    } else {
      expect(row(trained)).toEqual(row(prototypes.data));
    }
  }
  return everTouched;
}

describe('training against dense float64', () => {
  it.each(orders)('plain SGD, α %d', async (alpha) => {
    const touched = await compareTraining(
      lossFamilies.qMargin(alpha, 16),
      sgd({ learningRate: 2 }),
    );
    // Sparse losses leave prototypes alone, softmax none.
    expect(touched.size < identities).toBe(alpha > 1);
  });

  it.each(['a3m', 'cosFace', 'entmaxHead'] as const)('%s', async (family) => {
    await compareTraining(lossFamilies[family](1.5, 16), sgd());
  });

  it.each([
    ['momentum', sgd({ learningRate: 0.5, momentum: 0.9 })],
    ['weight decay', sgd({ learningRate: 0.5, weightDecay: 0.05 })],
    ['both', sgd({ learningRate: 0.5, momentum: 0.5, weightDecay: 0.05 })],
    ['Adagrad', adagrad({ learningRate: 0.1 })],
    [
      'Adagrad with an initial accumulator',
      adagrad({ learningRate: 0.5, initialAccumulator: 1e-3 }),
    ],
    ['Adagrad with decay', adagrad({ learningRate: 0.1, weightDecay: 0.05 })],
  ])('%s on the touched rows only', async (_, optimizer) => {
    await compareTraining(lossFamilies.qMargin(1.5, 10), optimizer);
  });

  // On both sides of where a GPU's kernels for updates take over from one another.
  it.each([31, 32, 33, 127, 129, 256, 257, 511, 512, 513])(
    'rows of width %s',
    async (width) => {
      for (const optimizer of [
        sgd({ learningRate: 0.5, momentum: 0.5, weightDecay: 0.05 }),
        adagrad({ learningRate: 0.01 }),
      ]) {
        await compareTraining(
          lossFamilies.qMargin(1.5, 10),
          optimizer,
          normalTensor(identities, width, 1),
          3,
        );
      }
    },
  );

  it('by one rule after another', async () => {
    const strong = sgd({ learningRate: 0.5, momentum: 0.9 });
    const weak = sgd({ learningRate: 0.5, momentum: 0.5, weightDecay: 0.05 });
    const rules = [strong, strong, weak, weak, sgd(), strong, strong];
    rules.push(adagrad({ learningRate: 0.1 }), adagrad(), strong);
    const loss = lossFamilies.qMargin(1.5, 10);
    await compareTraining(loss, rules, initial, rules.length);
  });

  it('frees what a new rule does not keep, and refuses what is none', () => {
    using head = new PrototypeHead({
      identities,
      dim,
      loss: lossFamilies.qMargin(1.5, 8),
      optimizer: sgd({ momentum: 0.9 }),
    });
    const { labels, embeddings } = batchOf(0);
    head.stepSync(embeddings, labels);
    expect(head.memory().optimizer).toBe(4 * identities * dim);
    head.optimizer = adagrad();
    expect(() => {
      head.optimizer = { momentum: 0.5 } as OptimizerSpecification;
    }).toThrow("PrototypeHead.optimizer: expected kind to be 'sgd' or");
    expect(head.optimizer).toEqual(adagrad());
    // Not before a step has been made: one that fails changes nothing.
    expect(head.memory().optimizer).toBe(4 * identities * dim);
    head.stepSync(embeddings, labels);
    expect(head.memory().optimizer).toBe(4 * identities);
  });

  it('follows a schedule of learning rates and losses', async () => {
    using head = new PrototypeHead({
      identities,
      dim,
      loss: lossFamilies.entmaxHead(1.5, 8),
      optimizer: sgd({ learningRate: 1 }),
      prototypes: initial,
    });
    const { labels, embeddings } = batchOf(0);
    head.learningRate = 0;
    head.stepSync(embeddings, labels);
    expect((await head.prototypes()).data).toEqual(initial.data);
    head.learningRate = 1;
    const easy = head.evaluateSync(embeddings, labels).loss;
    head.loss = lossFamilies.qMargin(1.5, 8);
    expect(head.loss.measureMargin).toBe(0.2);
    expect(head.evaluateSync(embeddings, labels).loss).toBeGreaterThan(easy);
  });

  it('a batch at zero loss changes nothing, weight decay included', async () => {
    using head = new PrototypeHead({
      identities: 3,
      dim: 4,
      loss: lossFamilies.entmaxHead(1.5, 16),
      optimizer: sgd({ learningRate: 1, momentum: 0.9, weightDecay: 0.1 }),
      prototypes: tensor(
        Float32Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0),
        [3, 4],
      ),
    });
    const before = await head.prototypes();
    const result = head.stepSync(
      tensor(Float32Array.of(3, 0.1, 0, 0), [1, 4]),
      Int32Array.of(0),
    );
    expect(result.loss).toBe(0);
    expect([...result.gradEmbeddings.data]).toEqual([0, 0, 0, 0]);
    expect(result.stats).toMatchObject({
      zeroLossRows: 1,
      touchedPrototypes: 0,
    });
    expect(await head.prototypes()).toEqual(before);
  });
});
