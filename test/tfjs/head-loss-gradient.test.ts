import { describe, expect, it } from 'vitest';
import {
  cosFace,
  entmaxHead,
  type LossSpecification,
  PrototypeHead,
  qMargin,
  sgd,
  type Tensor,
} from '../../lib/index.js';
import { headLoss } from '../../lib/tfjs/index.js';
import { relativeError } from '../helpers/contract.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from '../helpers/random.js';
import * as tf from '../helpers/tfjs.js';

/*
 * The gradient that reaches a backbone against the one tfjs computes itself by differentiating a
 * dense formulation, operation by operation, in float32.
 */

/** Rows of unit length. */
const unitRows = (x: tf.Tensor) => tf.div(x, tf.norm(x, 2, 1, true));

/** Cosines [B, C] of embeddings and prototypes. */
const cosines = (x: tf.Tensor, w: tf.Tensor) =>
  tf.matMul(
    unitRows(x) as tf.Tensor2D,
    unitRows(w) as tf.Tensor2D,
    false,
    true,
  );

/** CosFace: cross-entropy of s·(c − m·1_y). */
function denseCosFace(
  loss: LossSpecification,
  c: tf.Tensor,
  target: tf.Tensor,
) {
  const margins = tf.mul(target, loss.cosineMargin);
  const logits = tf.mul(tf.sub(c, margins), loss.scale);
  const log = tf.logSoftmax(logits as tf.Tensor2D);
  return tf.neg(tf.mean(tf.sum(tf.mul(target, log), 1)));
}

/** τ of each row by bisection: Σ_j q_j [1 + (α−1)(θ_j − τ)]_+^{1/(α−1)} = 1. */
function thresholds(theta: tf.Tensor, q: tf.Tensor, alpha: number): tf.Tensor {
  const width = 1 / (alpha - 1);
  let upper = tf.add(tf.max(theta, 1, true), width);
  let lower = tf.sub(tf.min(theta, 1, true), width * 40);
  for (let halving = 0; halving < 50; halving += 1) {
    const middle = tf.div(tf.add(lower, upper), 2);
    const mass = tf.sum(powers(theta, q, alpha, middle), 1, true);
    const tooMuch = tf.greater(mass, 1);
    lower = tf.where(tooMuch, middle, lower);
    upper = tf.where(tooMuch, upper, middle);
  }
  return upper;
}

/** q_j [1 + (α−1)(θ_j − τ)]_+^{1/(α−1)}. */
function powers(
  theta: tf.Tensor,
  q: tf.Tensor,
  alpha: number,
  threshold: tf.Tensor,
): tf.Tensor {
  const base = tf.relu(tf.add(tf.mul(tf.sub(theta, threshold), alpha - 1), 1));
  // 1/(α−1) is 1 or 2 here: products differentiate to 0 at 0, powers to NaN.
  return tf.mul(q, alpha === 2 ? base : tf.mul(base, base));
}

/**
 * Q-Margin and EntMax as Fenchel–Young losses,
 *
 *     ℓ = max_p { ⟨θ, p⟩ − Ω(p) } − ⟨θ, 1_y⟩ + Ω(1_y),   Ω(p) = Σ p^α q^{1−α} / (α(α−1))
 *
 * The maximum is differentiated through a p whose τ is held fixed and which is then normalised:
 * at the maximum any movement of p within the simplex changes the value to second order only.
 */
function denseFenchelYoung(
  { alpha, scale, measureMargin }: LossSpecification,
  c: tf.Tensor,
  target: tf.Tensor,
) {
  const theta = tf.mul(c, scale);
  const q = tf.exp(tf.mul(target, -scale * measureMargin));
  // A custom gradient of 0 holds τ fixed.
  const threshold = tf.customGrad((value: tf.Tensor | tf.GradSaveFunc) => ({
    value: thresholds(value as tf.Tensor, q, alpha),
    gradFunc: () => tf.zerosLike(value as tf.Tensor),
  }))(theta);
  const mass = powers(theta, q, alpha, threshold);
  const p = tf.div(mass, tf.sum(mass, 1, true));
  const omega = (values: tf.Tensor) => {
    const ratio = tf.div(values, q);
    const power = alpha === 2 ? ratio : tf.sqrt(tf.maximum(ratio, 1e-30));
    const terms = tf.mul(values, power);
    return tf.div(tf.sum(terms, 1), alpha * (alpha - 1));
  };
  const attained = tf.sub(tf.sum(tf.mul(theta, p), 1), omega(p));
  const own = tf.sub(tf.sum(tf.mul(theta, target), 1), omega(target));
  return tf.mean(tf.sub(attained, own));
}

type Dense = typeof denseCosFace;

const cases: [string, LossSpecification, Dense][] = [
  ['CosFace', cosFace({ scale: 16, margin: 0.35 }), denseCosFace],
  ['Q-Margin 1.5', qMargin({ alpha: 1.5, scale: 16 }), denseFenchelYoung],
  ['Q-Margin 2', qMargin({ alpha: 2, scale: 8 }), denseFenchelYoung],
  ['EntMax 1.5', entmaxHead({ alpha: 1.5, scale: 16 }), denseFenchelYoung],
  ['EntMax 2', entmaxHead({ alpha: 2, scale: 8 }), denseFenchelYoung],
];

const sizes = [
  [1, 2, 2],
  [7, 19, 5],
  [19, 111, 16],
] as const;

const asTf = ({ data, dims }: Tensor) => tf.tensor(data, [...dims]);

describe.each(cases)('%s', (_, loss, dense) => {
  it.each(sizes)('B %d, C %d, D %d', (batch, identities, dim) => {
    const prototypes = normalTensor(identities, dim, 3 + dim);
    const labels = randomLabels(batch, identities, 5);
    const embeddings = clusteredEmbeddings(prototypes, labels, 1.5, 7);
    using head = new PrototypeHead({
      identities,
      dim,
      loss,
      prototypes,
      optimizer: sgd(),
    });
    tf.tidy(() => {
      const x = asTf(embeddings);
      const w = asTf(prototypes);
      const target = tf.oneHot(
        tf.tensor1d(labels, 'int32'),
        identities,
        1,
        0,
        'float32',
      );
      const expected = tf.valueAndGrad((value: tf.Tensor) =>
        dense(loss, cosines(value, w), target),
      )(x);
      const received = tf.valueAndGrad((value: tf.Tensor) =>
        headLoss(head, value, labels),
      )(x);
      expect(expected.grad.dataSync().some((value) => value !== 0)).toBe(true);
      expect(
        relativeError(received.grad.dataSync(), expected.grad.dataSync()),
      ).toBeLessThan(1e-4);
      // The dense value is a difference of terms as large as s, in float32.
      const [value] = received.value.dataSync();
      const [dense32] = expected.value.dataSync();
      expect(Math.abs(value! - dense32!)).toBeLessThan(loss.scale * 2 ** -20);
    });
  });
});
