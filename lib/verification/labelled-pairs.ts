import { native } from '../native.js';
import type { RealInput } from '../tensor.js';
import { scoresFromHistograms } from './histogram-scores.js';
import { countScores, type TrialScores } from './trial-scores.js';

/** Pairs handed to the addon at once: index lists and scores of a few MB. */
const CHUNK = 2 ** 18;

/**
 * Bins over [−1, 1], each 2^−17 ≈ 7.6·10⁻⁶ wide. Impostor scores fall off by a factor
 * e over some hundredths of cosine even at FAR 1e-6, so a bin moves a rate by less
 * than a thousandth of itself; more bins outgrow the caches that are counted in.
 */
export const HISTOGRAM_BINS = 2 ** 18;

/** Number of unordered pairs of equal labels. */
export function countGenuinePairs(labels: Int32Array): number {
  const sizes = new Map<number, number>();
  let pairs = 0;
  for (const label of labels) {
    const before = sizes.get(label) ?? 0;
    pairs += before;
    sizes.set(label, before + 1);
  }
  return pairs;
}

/** Scores of all pairs i < j, each one kept: memory grows with N². */
export async function scorePairsExactly(
  functionName: string,
  embeddings: RealInput,
  labels: Int32Array,
  cancel: Int32Array,
): Promise<TrialScores> {
  const rows = labels.length;
  const pairs = (rows * (rows - 1)) / 2;
  const genuine = new Float32Array(countGenuinePairs(labels));
  const impostor = new Float32Array(pairs - genuine.length);
  const capacity = Math.min(pairs, CHUNK);
  const first = new Int32Array(capacity);
  const second = new Int32Array(capacity);
  const cosines = new Float32Array(capacity);
  let filled = 0;
  let genuineSeen = 0;
  let impostorSeen = 0;
  const scoreChunk = async () => {
    await native().pairCosines(
      embeddings.data,
      embeddings.dims[1]!,
      first.subarray(0, filled),
      second.subarray(0, filled),
      cosines.subarray(0, filled),
      cancel,
    );
    for (let pair = 0; pair < filled; pair += 1) {
      if (labels[first[pair]!] === labels[second[pair]!]) {
        genuine[genuineSeen] = cosines[pair]!;
        genuineSeen += 1;
      } else {
        impostor[impostorSeen] = cosines[pair]!;
        impostorSeen += 1;
      }
    }
    filled = 0;
  };
  for (let i = 0; i < rows; i += 1) {
    for (let j = i + 1; j < rows; j += 1) {
      first[filled] = i;
      second[filled] = j;
      filled += 1;
      if (filled === capacity) await scoreChunk();
    }
  }
  if (filled > 0) await scoreChunk();
  return countScores(functionName, genuine, impostor);
}

/** Scores of all pairs i < j, only counted: memory does not grow with N². */
export async function scorePairsInBins(
  embeddings: RealInput,
  labels: Int32Array,
  cancel: Int32Array,
): Promise<TrialScores> {
  const genuine = new Float64Array(HISTOGRAM_BINS);
  const impostor = new Float64Array(HISTOGRAM_BINS);
  await native().pairHistograms(
    embeddings.data,
    embeddings.dims[1]!,
    labels,
    genuine,
    impostor,
    cancel,
  );
  return scoresFromHistograms(genuine, impostor);
}
