import { invalidArgument } from './errors.js';
import { checkNumber } from './number-checks.js';
import { readOptions } from './options.js';

/** Update rule of {@link PrototypeHead}: plain data, made by {@link sgd} or {@link adagrad}. */
export interface OptimizerSpecification {
  readonly kind: 'sgd' | 'adagrad';
  readonly learningRate: number;
  readonly momentum: number;
  readonly weightDecay: number;
  /** Of Adagrad; 0 for SGD. */
  readonly epsilon: number;
  /** Of Adagrad; 0 for SGD. */
  readonly initialAccumulator: number;
}

const FIELDS: readonly string[] = [
  'kind',
  'learningRate',
  'momentum',
  'weightDecay',
  'epsilon',
  'initialAccumulator',
] satisfies (keyof OptimizerSpecification)[];

/** Options of {@link sgd}. */
export interface SgdOptions {
  /** Learning rate η ≥ 0. Default 0.1. */
  learningRate?: number | undefined;
  /** Momentum μ in [0, 1). Default 0. */
  momentum?: number | undefined;
  /** Weight decay λ ≥ 0, η·λ < 1. Default 0. */
  weightDecay?: number | undefined;
}

/**
 * Stochastic gradient descent on the touched rows:
 * v ← μ·v + (∂w + λ·w), w ← w − η·v.
 *
 * Momentum and decay act on a row only in steps that touch it: its class is in the support, or
 * is the label, of some row with a loss above 0. Without both, the trajectory equals dense SGD
 * exactly.
 *
 * @example
 * const optimizer = sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 5e-4 });
 */
export function sgd(options: SgdOptions = {}): OptimizerSpecification {
  const {
    learningRate = 0.1,
    momentum = 0,
    weightDecay = 0,
  } = readOptions<SgdOptions>('sgd', options, [
    'learningRate',
    'momentum',
    'weightDecay',
  ]);
  return optimizerSpecification('sgd', {
    kind: 'sgd',
    learningRate,
    momentum,
    weightDecay,
    epsilon: 0,
    initialAccumulator: 0,
  });
}

/** Options of {@link adagrad}. */
export interface AdagradOptions {
  /** Learning rate η ≥ 0. Default 0.1. */
  learningRate?: number | undefined;
  /** Weight decay λ ≥ 0, η·λ < 1. Default 0. */
  weightDecay?: number | undefined;
  /** Added to the root, > 0. Default 1e-10. */
  epsilon?: number | undefined;
  /** a₀ ≥ 0, what every accumulator begins with. Default 0. */
  initialAccumulator?: number | undefined;
}

/**
 * Row-wise Adagrad on the touched rows, one accumulator per prototype:
 * a ← a + mean(g²), w ← w − η·g/(√(a₀ + a) + ε), g = ∂w + λ·w.
 *
 * With a₀ = 0 the first step of a prototype has the length η·√D whatever its gradient, however
 * small: with prototypes of length 1 choose η around 0.1/√D. Or choose a₀ near the mean square of
 * usual gradients: then smaller ones move less.
 *
 * @example
 * const optimizer = adagrad({ learningRate: 0.05 });
 */
export function adagrad(options: AdagradOptions = {}): OptimizerSpecification {
  const {
    learningRate = 0.1,
    weightDecay = 0,
    epsilon = 1e-10,
    initialAccumulator = 0,
  } = readOptions<AdagradOptions>('adagrad', options, [
    'learningRate',
    'weightDecay',
    'epsilon',
    'initialAccumulator',
  ]);
  return optimizerSpecification('adagrad', {
    kind: 'adagrad',
    learningRate,
    momentum: 0,
    weightDecay,
    epsilon,
    initialAccumulator,
  });
}

/** Checks and freezes an update rule. */
export function optimizerSpecification(
  functionName: string,
  options: OptimizerSpecification,
): OptimizerSpecification {
  const { kind } = options;
  if (kind !== 'sgd' && kind !== 'adagrad') {
    throw invalidArgument(functionName, 'kind', "'sgd' or 'adagrad'", kind);
  }
  const other = Object.keys(options).find((key) => !FIELDS.includes(key));
  if (other !== undefined) {
    throw invalidArgument(
      functionName,
      'optimizer',
      `made of ${FIELDS.join(', ')}`,
      other,
    );
  }
  checkLearningRate(functionName, options.learningRate, options.weightDecay);
  checkNumber(
    functionName,
    'momentum',
    options.momentum,
    'a number in [0, 1)',
    (value) => value >= 0 && value < 1,
  );
  if (kind === 'adagrad') {
    checkNumber(
      functionName,
      'epsilon',
      options.epsilon,
      'a finite number > 0',
      (value) => value > 0,
    );
    checkNumber(
      functionName,
      'initialAccumulator',
      options.initialAccumulator,
      'a finite number >= 0',
      (value) => value >= 0,
    );
  }
  const { learningRate, momentum, weightDecay } = options;
  const { epsilon, initialAccumulator } = options;
  // In one order, whoever made it: checkpoints are the same byte by byte.
  return Object.freeze({
    kind,
    learningRate,
    momentum,
    weightDecay,
    epsilon,
    initialAccumulator,
  });
}

/** Checks η ≥ 0, λ ≥ 0 and η·λ < 1 (at 1 the decay alone would erase a prototype). */
export function checkLearningRate(
  functionName: string,
  learningRate: unknown,
  weightDecay: unknown,
): void {
  const rate = checkNumber(
    functionName,
    'learningRate',
    learningRate,
    'a finite number >= 0',
    (value) => value >= 0,
  );
  const decay = checkNumber(
    functionName,
    'weightDecay',
    weightDecay,
    'a finite number >= 0',
    (value) => value >= 0,
  );
  if (rate * decay >= 1) {
    throw invalidArgument(
      functionName,
      'learningRate * weightDecay',
      'less than 1',
      rate * decay,
    );
  }
}
