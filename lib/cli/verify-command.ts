import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { EmbeddingDataset } from '../data/embedding-dataset.js';
import { openEmbeddings } from '../data/open-embeddings.js';
import { checkWritable, writeTextAtomically } from '../io/atomic-file.js';
import { fileError } from '../io/file-errors.js';
import type { Tensor } from '../tensor.js';
import { setThreadCount } from '../thread-count.js';
import { readTrials } from '../verification/read-trials.js';
import { scoreTrials, type TrialSource } from '../verification/score-trials.js';
import { summarize } from '../verification/summarize.js';
import {
  type ReportSystem,
  verificationReport,
} from '../verification/verification-report.js';
import { otherTrials, withCompared } from './compared-systems.js';
import { placeIn, readRows } from './embedding-inputs.js';
import {
  checkFeatures,
  checkLabelledPairs,
  checkTrialKinds,
} from './input-checks.js';
import { checkOutputs, filesOf } from './output-checks.js';
import { BASELINE, projectEmbeddings, systemName } from './projected-system.js';
import { resultsText } from './saved-results.js';
import { readLabelledRows } from './training-data.js';
import { verificationTable } from './verification-table.js';
import {
  parseVerifyArguments,
  type VerifyArguments,
} from './verify-options.js';

export { VERIFY_HELP as help } from './verify-options.js';

/** Runs `alphamargin verify`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const options = parseVerifyArguments(args);
  const { json, report, embeddings, source, heads: head, compare } = options;
  await checkOutputs(
    filesOf({ json, report }),
    filesOf({ embeddings, ...source, head, compare }),
  );
  if (options.threads !== undefined) setThreadCount(options.threads);
  // Better now than after the scoring.
  for (const file of [json, report]) {
    if (file !== undefined) await checkWritable(file);
  }
  const own = await measure(options);
  const systems = await withCompared(own, compare);
  const notes = otherTrials(systems);
  const summaries = systems.map(({ name, scores }) => ({
    name,
    summary: summarize(scores),
  }));
  console.log([verificationTable(summaries), ...notes].join('\n'));
  if (json !== undefined) {
    await writeTextAtomically(json, resultsText(embeddings, own));
  }
  if (report !== undefined) {
    const title = `Verification on ${path.basename(embeddings)}`;
    const html = await verificationReport({ title, systems, notes });
    await writeTextAtomically(report, html);
  }
  return 0;
}

/** The embeddings as they are, and after the projection of each head. */
async function measure(options: VerifyArguments): Promise<ReportSystem[]> {
  const { embeddings, rows, source } = await readTrialSet(options);
  const systems: ReportSystem[] = [
    { name: BASELINE, scores: await scoreTrials(embeddings, source) },
  ];
  for (const [index, head] of options.heads.entries()) {
    const projected = await projectEmbeddings(head, embeddings, rows);
    systems.push({
      name: systemName(options.heads, index),
      scores: await scoreTrials(projected.embeddings, source),
      training: projected.training,
    });
  }
  return systems;
}

/** The embeddings to compare, as float32, their rows in the file, and the pairs. */
async function readTrialSet(
  options: VerifyArguments,
): Promise<{ embeddings: Tensor; rows: Int32Array; source: TrialSource }> {
  await using dataset = await openEmbeddings(options.embeddings);
  const { rows, source } = await readPairs(dataset, options);
  const { dim } = dataset;
  const data = await readRows(dataset, rows);
  checkFeatures(data, dim, rows, placeIn([options.embeddings], dataset));
  const dims = [rows.length, dim];
  return { embeddings: { type: 'float32', data, dims }, rows, source };
}

/** Which rows are compared. */
async function readPairs(
  dataset: EmbeddingDataset,
  options: VerifyArguments,
): Promise<{ rows: Int32Array; source: TrialSource }> {
  if ('labels' in options.source) {
    const { rows, labels } = await readLabelledRows(
      dataset,
      options.source,
      'test',
      console.error,
    );
    checkLabelledPairs(options.source.labels, labels);
    return { rows, source: { labels } };
  }
  const { trials: list, names: nameFile } = options.source;
  // Scoring a list normalises every row, so every row is read.
  const rows = Int32Array.from({ length: dataset.count }, (_, row) => row);
  const trials = await readTrials(list);
  checkTrialKinds(list, trials);
  const names =
    nameFile === undefined ? dataset.names : await readNames(nameFile);
  return {
    rows,
    source: names === undefined ? { trials } : { trials, names },
  };
}

/** One name a line; the end of the last line is optional. */
async function readNames(file: string): Promise<string[]> {
  try {
    const text = await readFile(file, 'utf8');
    return text.replace(/\r?\n$/, '').split(/\r?\n/);
  } catch (cause) {
    throw fileError(file, 'read', cause);
  }
}
