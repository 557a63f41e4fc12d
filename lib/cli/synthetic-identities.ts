import { RandomStream } from '../random.js';
import {
  rowsInMemory,
  type TrainingData,
  withClasses,
} from './training-data.js';

/** Sizes of a made-up set of recordings. */
export interface SyntheticSizes {
  readonly identities: number;
  readonly samplesPerIdentity: number;
  readonly dim: number;
  readonly seed: number;
}

/** A made-up set. */
export interface SyntheticSet extends TrainingData {
  /** [N, dim]. */
  readonly features: Float32Array;
}

/** Directions that tell identities apart, and directions that only disturb. */
const IDENTITY_DIRECTIONS = 24;
const NUISANCE_DIRECTIONS = 24;

/** Spread of one identity's samples in the identity directions (identities: 1). */
const WITHIN_IDENTITY = 0.55;

/** Spread in the nuisance directions: more than everything that matters, as in life. */
const NUISANCE = 2;

/** Spread of the noise on each feature. */
const FEATURE_NOISE = 0.1;

/** Constant of the stream that fixes the world (the mixing), whatever the set. */
const WORLD_STREAM = 0x574f524c;

/**
 * Makes a labelled set in which raw features verify poorly and a learnt projection helps:
 *
 *     x = tanh(A·[u + 0.55·e; 2·n] / √48) + 0.1·ε
 *
 * with u the identity, e and n new in every sample, and a fixed random A. The same `seed` always
 * gives the same set; sets with different `first` share A but no identity.
 *
 * @param first Number of the first identity, which also seeds it.
 */
export function syntheticIdentities(
  { identities, samplesPerIdentity, dim, seed }: SyntheticSizes,
  first: number,
): SyntheticSet {
  const latent = IDENTITY_DIRECTIONS + NUISANCE_DIRECTIONS;
  const mixing = new Float32Array(dim * latent);
  new RandomStream(seed, WORLD_STREAM).addGaussian(
    mixing,
    1 / Math.sqrt(latent),
  );
  const count = identities * samplesPerIdentity;
  const features = new Float32Array(count * dim);
  const labels = new Int32Array(count);
  const identity = new Float32Array(IDENTITY_DIRECTIONS);
  const sample = new Float32Array(latent);
  const place = sample.subarray(0, IDENTITY_DIRECTIONS);
  const nuisance = sample.subarray(IDENTITY_DIRECTIONS);
  for (let row = 0; row < count; row += 1) {
    const number = first + Math.floor(row / samplesPerIdentity);
    const stream = new RandomStream(seed, number, row % samplesPerIdentity);
    identity.fill(0);
    new RandomStream(seed, number).addGaussian(identity, 1);
    place.set(identity);
    stream.addGaussian(place, WITHIN_IDENTITY);
    nuisance.fill(0);
    stream.addGaussian(nuisance, NUISANCE);
    const out = features.subarray(row * dim, (row + 1) * dim);
    for (let column = 0; column < dim; column += 1) {
      let sum = 0;
      for (let direction = 0; direction < latent; direction += 1) {
        sum += mixing[column * latent + direction]! * sample[direction]!;
      }
      out[column] = Math.tanh(sum);
    }
    stream.addGaussian(out, FEATURE_NOISE);
    labels[row] = number;
  }
  const rows = Int32Array.from(labels.keys());
  const source = rowsInMemory(features, dim);
  return { ...withClasses(source, { rows, labels }), features };
}
