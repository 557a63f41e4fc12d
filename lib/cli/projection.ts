import { native } from '../native.js';
import { RandomStream } from '../random.js';

/** How a projection starts. */
export type ProjectionStart = 'identity' | 'random';

/** Constant of the random stream that fills a projection. */
const START_STREAM = 0x50524f4a;

/** Rows projected at a time by {@link Projection.applyAll}. */
export const ROWS_AT_A_TIME = 4096;

/**
 * A linear map in front of the head, y = P·x without bias: the smallest real backbone.
 *
 * Shapes: P [outputs, inputs], x [B, inputs], y [B, outputs]. Update, with G = ∂ℓ/∂P:
 * v ← μ·v + (G + λ·P), P ← P − η·v, the rule of {@link sgd}.
 */
export class Projection {
  readonly inputs: number;
  readonly outputs: number;
  /** P, row-major. */
  readonly weight: Float32Array;
  /** v, row-major. */
  readonly momentum: Float32Array;
  readonly #gradient: Float32Array;

  /** A projection over the given arrays [outputs · inputs], which it keeps. */
  constructor(
    inputs: number,
    outputs: number,
    weight: Float32Array,
    momentum: Float32Array,
  ) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.weight = weight;
    this.momentum = momentum;
    this.#gradient = new Float32Array(weight.length);
  }

  /**
   * A new projection: the (rectangular) identity, or normal numbers of variance 1/inputs, which
   * keeps the length of a random vector.
   */
  static start(
    inputs: number,
    outputs: number,
    start: ProjectionStart,
    seed: number,
  ): Projection {
    const weight = new Float32Array(inputs * outputs);
    if (start === 'identity') {
      for (let row = 0; row < Math.min(inputs, outputs); row += 1) {
        weight[row * inputs + row] = 1;
      }
    } else {
      const stream = new RandomStream(seed, START_STREAM);
      stream.addGaussian(weight, 1 / Math.sqrt(inputs));
    }
    const momentum = new Float32Array(weight.length);
    return new Projection(inputs, outputs, weight, momentum);
  }

  /** y [rows, outputs] of x [rows, inputs]. */
  apply(features: Float32Array, rows: number): Float32Array {
    const { inputs, outputs, weight } = this;
    const out = new Float32Array(rows * outputs);
    native().matrixProductSync(
      features,
      false,
      weight,
      true,
      rows,
      inputs,
      outputs,
      out,
    );
    return out;
  }

  /** {@link apply} in pieces, letting the event loop run between them. */
  async applyAll(features: Float32Array, rows: number): Promise<Float32Array> {
    const { inputs, outputs } = this;
    const out = new Float32Array(rows * outputs);
    for (let first = 0; first < rows; first += ROWS_AT_A_TIME) {
      const count = Math.min(ROWS_AT_A_TIME, rows - first);
      const piece = features.subarray(first * inputs, (first + count) * inputs);
      out.set(this.apply(piece, count), first * outputs);
      await new Promise(setImmediate);
    }
    return out;
  }

  /** One step from ∂ℓ/∂y [rows, outputs]: G = (∂ℓ/∂y)ᵀ·x, then the update above. */
  update(
    features: Float32Array,
    gradOutputs: Float32Array,
    rows: number,
    rule: { learningRate: number; momentum: number; weightDecay: number },
  ): void {
    const { inputs, outputs, weight, momentum } = this;
    const gradient = this.#gradient;
    native().matrixProductSync(
      gradOutputs,
      true,
      features,
      false,
      outputs,
      rows,
      inputs,
      gradient,
    );
    for (let index = 0; index < weight.length; index += 1) {
      const velocity =
        rule.momentum * momentum[index]! +
        (gradient[index]! + rule.weightDecay * weight[index]!);
      momentum[index] = velocity;
      weight[index]! -= rule.learningRate * velocity;
    }
  }
}
