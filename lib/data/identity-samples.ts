import { invalidArgument } from '../errors.js';
import { readOptions } from '../options.js';
import { RandomStream } from '../random.js';
import { type BatchPlan, cached, checkCount, STREAM } from './batch-plan.js';
import { RANDOM_READ_AHEAD } from './class-balanced.js';
import { ClassIndex } from './class-index.js';

/** Options of {@link identitySamples}. */
export interface IdentitySamplesOptions {
  /** Int32Array [N], the identity of each row; rows with a negative label are never drawn. */
  readonly labels: Int32Array;
  /** P, different identities in a step; at most those that occur. */
  readonly identities: number;
  /** K, rows of each identity in a step. */
  readonly samples: number;
  /** A whole number; default 0. Each epoch has an order of its own. */
  readonly seed?: number | undefined;
}

/**
 * P × K batches: P different identities, K rows of each, side by side. In an epoch every identity
 * comes once, but for fewer than P that are left over (other ones in each epoch). The K rows are
 * different ones; an identity that has fewer than K gives all of them, in turns, until K are there.
 *
 * @param options `labels`, `identities` and `samples`; default: seed 0.
 * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` naming the option.
 * @example
 * const plan = identitySamples({ labels, identities: 64, samples: 4 }); // batches of 256
 */
export function identitySamples(options: IdentitySamplesOptions): BatchPlan {
  const name = 'identitySamples';
  const read = readOptions<IdentitySamplesOptions>(name, options, [
    'labels',
    'identities',
    'samples',
    'seed',
  ]);
  const index = new ClassIndex(name, read.labels);
  const identities = checkCount(name, 'identities', read.identities);
  const samples = checkCount(name, 'samples', read.samples);
  const seed = checkCount(name, 'seed', read.seed ?? 0, 0);
  if (identities > index.count) {
    throw invalidArgument(
      name,
      'options.identities',
      `at most the ${index.count} identities that occur in labels`,
      identities,
    );
  }
  const stepsPerEpoch = Math.floor(index.count / identities);
  const order = cached((epoch) => {
    const all = Int32Array.from(index.identities.keys());
    new RandomStream(seed, STREAM.identities, epoch).shuffle(all);
    return all;
  });
  return {
    stepsPerEpoch,
    readAhead: RANDOM_READ_AHEAD,
    rowsOf(step) {
      const random = new RandomStream(seed, STREAM.samples, step);
      const first = (step % stepsPerEpoch) * identities;
      const rows = new Int32Array(identities * samples);
      const epochOrder = order(Math.floor(step / stepsPerEpoch), 0);
      for (let place = 0; place < identities; place += 1) {
        const own = index.rowsOf(epochOrder[first + place]!);
        const drawn = drawDifferent(own, Math.min(samples, own.length), random);
        for (let sample = 0; sample < samples; sample += 1) {
          rows[place * samples + sample] = drawn[sample % drawn.length]!;
        }
      }
      return rows;
    },
  };
}

/** Different ones of `values`, every choice alike (Floyd's algorithm: time O(count)). */
function drawDifferent(
  values: Int32Array,
  count: number,
  random: RandomStream,
): number[] {
  const chosen = new Set<number>();
  for (let last = values.length - count; last < values.length; last += 1) {
    const drawn = random.nextBelow(last + 1);
    chosen.add(chosen.has(drawn) ? last : drawn);
  }
  return Array.from(chosen, (position) => values[position]!);
}
