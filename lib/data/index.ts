/**
 * Data sets larger than memory: embeddings in files, read by row, and the batches made of them.
 *
 * @module
 */
export { type ArkRow, readArk } from '../io/kaldi-ark.js';
export { readScp, type ScpEntries } from '../io/kaldi-scp.js';
export {
  readSpk2utt,
  readUtt2spk,
  type SpeakerLabels,
  speakerLabels,
} from '../io/kaldi-speakers.js';
/** Which rows a batch takes. */
export type { BatchPlan, RowChoice } from './batch-plan.js';
export { type ClassBalancedOptions, classBalanced } from './class-balanced.js';
export {
  type EmbeddingBatch,
  type EmbeddingBatchesOptions,
  embeddingBatches,
} from './embedding-batches.js';
export { EmbeddingDataset, type EmbeddingRows } from './embedding-dataset.js';
export {
  type IdentitySamplesOptions,
  identitySamples,
} from './identity-samples.js';
export {
  type OpenEmbeddingsOptions,
  openEmbeddings,
} from './open-embeddings.js';
export { readTemplates, type TemplateList } from './read-templates.js';
export { type SequentialOptions, sequential } from './sequential.js';
export { type ShuffledOptions, shuffled } from './shuffled.js';
export { templateEmbeddings } from './template-embeddings.js';
