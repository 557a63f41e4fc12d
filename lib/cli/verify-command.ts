import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { EmbeddingDataset } from '../data/embedding-dataset.js';
import { openEmbeddings } from '../data/open-embeddings.js';
import { AlphaMarginError } from '../errors.js';
import { checkWritable, writeTextAtomically } from '../io/atomic-file.js';
import { fileError } from '../io/file-errors.js';
import type { Tensor } from '../tensor.js';
import { setThreadCount } from '../thread-count.js';
import { readTrials } from '../verification/read-trials.js';
import type { TrialSource } from '../verification/score-trials.js';
import { summarize } from '../verification/summarize.js';
import { verificationReport } from '../verification/verification-report.js';
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
import { type ScoredSystem, scoreSystem } from './scored-systems.js';
import { readLabelledRows } from './training-data.js';
import { writeTrialScores } from './trial-scores-file.js';
import { verificationTable } from './verification-table.js';
import {
  parseVerifyArguments,
  type VerifyArguments,
} from './verify-options.js';

export { VERIFY_HELP as help } from './verify-options.js';

/** Runs `alphamargin verify`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const options = parseVerifyArguments(args);
  const { json, report, scores, embeddings, source, compare } = options;
  const { heads: head, cohort } = options;
  await checkOutputs(
    filesOf({ json, report, scores }),
    filesOf({ embeddings, ...source, head, compare, cohort }),
  );
  if (options.threads !== undefined) setThreadCount(options.threads);
  // Better now than after the scoring.
  for (const file of [json, report, scores]) {
    if (file !== undefined) await checkWritable(file);
  }
  const measured = await measure(options);
  const own = measured.map(({ system }) => system);
  const systems = await withCompared(own, compare);
  const notes = otherTrials(systems);
  const summaries = systems.map(({ name, scores }) => ({
    name,
    summary: summarize(scores),
  }));
  console.log([verificationTable(summaries), ...notes].join('\n'));
  if (scores !== undefined && 'trials' in source) {
    const perTrial = measured.map((one) => one.perTrial!);
    await writeTrialScores(scores, source.trials, perTrial);
  }
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
async function measure(options: VerifyArguments): Promise<ScoredSystem[]> {
  const { heads, cohortTop: top } = options;
  const { embeddings, rows, source } = await readTrialSet(options);
  const cohort = await readCohort(options, embeddings.dims[1]!);
  const systems = await scoreSystem({
    ...{ name: BASELINE, embeddings, rows, source },
    cohort: cohort && { embeddings: cohort.embeddings, top },
  });
  for (const [index, head] of heads.entries()) {
    const projected = await projectEmbeddings(head, embeddings, rows);
    const strangers =
      cohort &&
      (await projectEmbeddings(head, cohort.embeddings, cohort.rows, 'cohort'));
    const scored = await scoreSystem({
      ...{ name: systemName(heads, index), ...projected, rows, source },
      cohort: strangers && { embeddings: strangers.embeddings, top },
    });
    systems.push(...scored);
  }
  return systems;
}

/** The embeddings that scores are normalised with, as float32, and their rows in the file. */
async function readCohort(
  { cohort, embeddings }: VerifyArguments,
  dim: number,
): Promise<{ embeddings: Tensor; rows: Int32Array } | null> {
  if (cohort === undefined) return null;
  await using dataset = await openEmbeddings(cohort);
  const { count } = dataset;
  if (dataset.dim !== dim || count < 2) {
    throw new AlphaMarginError(
      'ERR_INVALID_ARGUMENT',
      `${cohort}: a cohort of at least 2 rows of ${dim}, as in ${embeddings}, is needed; it ` +
        `holds ${count} of ${dataset.dim}`,
    );
  }
  // Awaited here: the files are closed when this returns.
  return await readChecked(dataset, cohort, allRows(count));
}

/** Rows of a set, as float32, after they were checked. */
async function readChecked(
  dataset: EmbeddingDataset,
  path: string,
  rows: Int32Array,
): Promise<{ embeddings: Tensor; rows: Int32Array }> {
  const { dim } = dataset;
  const data = await readRows(dataset, rows);
  checkFeatures(data, dim, rows, placeIn([path], dataset));
  const dims = [rows.length, dim];
  return { embeddings: { type: 'float32', data, dims }, rows };
}

/** The embeddings to compare, as float32, their rows in the file, and the pairs. */
async function readTrialSet(
  options: VerifyArguments,
): Promise<{ embeddings: Tensor; rows: Int32Array; source: TrialSource }> {
  await using dataset = await openEmbeddings(options.embeddings);
  const { rows, source } = await readPairs(dataset, options);
  return { ...(await readChecked(dataset, options.embeddings, rows)), source };
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
  const rows = allRows(dataset.count);
  const trials = await readTrials(list);
  checkTrialKinds(list, trials);
  const names =
    nameFile === undefined ? dataset.names : await readNames(nameFile);
  return {
    rows,
    source: names === undefined ? { trials } : { trials, names },
  };
}

function allRows(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, row) => row);
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
