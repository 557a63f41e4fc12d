import {
  AlphaMarginError,
  type BackendInfo,
  backendInfo,
  DeviceTensor,
  type LossResult,
  PrototypeHead,
  qMargin,
  qMarginLoss,
  sgd,
  type Tensor,
  tensor,
} from 'alphamargin';
import {
  type EmbeddingBatch,
  type EmbeddingDataset,
  embeddingBatches,
  openEmbeddings,
  shuffled,
} from 'alphamargin/data';
import {
  eer,
  normalizeScores,
  parseTrials,
  rocPlot,
  scoreTrials,
  type TrialScores,
  trialCosines,
  trialScoresFromList,
} from 'alphamargin/verification';

const embeddings: Tensor = tensor(new Float32Array(6), [2, 3]);
const labels = Int32Array.of(0, 1);
const head = new PrototypeHead({
  identities: 2,
  dim: 3,
  loss: qMargin({ alpha: 1.25 }),
  optimizer: sgd({ learningRate: 0.1 }),
});
const { loss, gradEmbeddings } = await head.step(embeddings, labels);
export const mean: number = loss;
export const rows: readonly number[] = gradEmbeddings.dims;
export const result: LossResult = await qMarginLoss(embeddings, labels, {
  alpha: 1.25,
});
export const scores: TrialScores = await scoreTrials(embeddings, { labels });
export const rate: number = eer(scores).rate;
export const plot: Promise<string> = rocPlot([{ name: 'a', scores }]);
const trials = parseTrials('a b target\nb a nontarget\n');
const names = ['a', 'b'];
const cosines: Float32Array = await trialCosines(embeddings, { trials, names });
export const normalized: TrialScores = trialScoresFromList(
  await normalizeScores({
    scores: cosines,
    trials,
    names,
    embeddings,
    cohort: embeddings,
  }),
  trials,
);
export const dataset: EmbeddingDataset = await openEmbeddings(
  new URL('rows.npy', import.meta.url),
);
const plan = shuffled({ rows: dataset.count, batch: 2 });
export const batches: AsyncIterable<EmbeddingBatch> = embeddingBatches(
  dataset,
  labels,
  plan,
);
export const info: BackendInfo = backendInfo();
export const isOnDevice = (x: unknown): boolean => x instanceof DeviceTensor;
export const isOurs = (e: unknown): boolean => e instanceof AlphaMarginError;

// @ts-expect-error: what is not typed would pass as `any`.
head.step('embeddings', labels);
