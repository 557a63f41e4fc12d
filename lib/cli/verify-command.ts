import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { AlphaMarginError } from '../errors.js';
import { writeTextAtomically } from '../io/atomic-file.js';
import { damagedFile, fileError } from '../io/file-errors.js';
import { openSafetensors } from '../io/safetensors-reader.js';
import type { Tensor } from '../tensor.js';
import { setThreadCount } from '../thread-count.js';
import { readTrials } from '../verification/read-trials.js';
import { scoreTrials, type TrialSource } from '../verification/score-trials.js';
import { summarize } from '../verification/summarize.js';
import type { NamedScores } from '../verification/systems.js';
import { verificationReport } from '../verification/verification-report.js';
import { readProjection } from './checkpoint-projection.js';
import { readEmbeddings } from './embedding-inputs.js';
import { checkFeatures, findUnusable } from './input-checks.js';
import { gatherRows, readLabelledRows } from './training-data.js';
import { verificationTable } from './verification-table.js';
import {
  parseVerifyArguments,
  type VerifyArguments,
} from './verify-options.js';

export { VERIFY_HELP as help } from './verify-options.js';

/** Name of the baseline when heads are compared. */
const BASELINE = 'embeddings';

/** Runs `alphamargin verify`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const options = parseVerifyArguments(args);
  if (options.threads !== undefined) setThreadCount(options.threads);
  const { embeddings, rows, source } = await readTrialSet(options);
  const systems: NamedScores[] = [
    { name: BASELINE, scores: await scoreTrials(embeddings, source) },
  ];
  for (const [index, head] of options.heads.entries()) {
    const projected = await project(head, embeddings, rows);
    const scores = await scoreTrials(projected, source);
    systems.push({ name: systemName(options.heads, index), scores });
  }
  const summaries = systems.map(({ name, scores }) => ({
    name,
    summary: summarize(scores),
  }));
  console.log(verificationTable(summaries));
  if (options.json !== undefined) {
    const content = { embeddings: options.embeddings, systems: summaries };
    const json = `${JSON.stringify(content, null, 2)}\n`;
    await writeTextAtomically(options.json, json);
  }
  if (options.report !== undefined) {
    const title = `Verification on ${path.basename(options.embeddings)}`;
    const html = await verificationReport({ title, systems });
    await writeTextAtomically(options.report, html);
  }
  return 0;
}

/** The embeddings to compare, as float32, their rows in the file, and the pairs. */
async function readTrialSet(
  options: VerifyArguments,
): Promise<{ embeddings: Tensor; rows: Int32Array; source: TrialSource }> {
  if ('labels' in options.source) {
    const files = { embeddings: options.embeddings, ...options.source };
    const part = await readLabelledRows(files, 'test');
    const dims = [part.rows.length, part.dim];
    return {
      embeddings: { type: 'float32', data: gatherRows(part, part.rows), dims },
      rows: part.rows,
      source: { labels: part.labels },
    };
  }
  const { trials: list, names: nameFile } = options.source;
  const input = await readEmbeddings(options.embeddings);
  const { data, count, dim } = input;
  const rows = Int32Array.from({ length: count }, (_, row) => row);
  // Scoring a list normalises every row, so every row must have a direction.
  checkFeatures(options.embeddings, data, dim, rows);
  const trials = await readTrials(list);
  const names =
    nameFile === undefined ? input.names : await readNames(nameFile);
  return {
    embeddings: {
      type: 'float32',
      data: gatherRows({ features: data, dim }, rows),
      dims: [count, dim],
    },
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

/** The embeddings after the projection of a checkpoint. */
async function project(
  path: string,
  embeddings: Tensor,
  inFile: Int32Array,
): Promise<Tensor> {
  const file = await openSafetensors(path);
  try {
    const projection = await readProjection(file);
    if (projection === null) {
      throw damagedFile(
        path,
        'holds no projection (train with --project), so it does not change the embeddings',
      );
    }
    const [rows, dim] = embeddings.dims as [number, number];
    if (dim !== projection.inputs) {
      throw new AlphaMarginError(
        'ERR_INVALID_ARGUMENT',
        `${path}: its projection takes embeddings of dimension ${projection.inputs}, ` +
          `these have ${dim}`,
      );
    }
    const data = await projection.applyAll(embeddings.data, rows);
    const found = findUnusable(data, projection.outputs, inFile.keys());
    if (found !== undefined) {
      throw damagedFile(
        path,
        `its projection gives row ${inFile[found.row]} of the embeddings no direction ` +
          `(norm ${found.norm})`,
      );
    }
    return { type: 'float32', data, dims: [rows, projection.outputs] };
  } finally {
    await file.close();
  }
}

/** The file's name, or its path where two files share a name, or both with a number. */
function systemName(heads: readonly string[], index: number): string {
  const short = heads.map((head) => path.basename(head, '.safetensors'));
  const candidates = [short, heads];
  for (const names of candidates) {
    const name = names[index]!;
    const used = names.filter((other) => other === name).length;
    if (used === 1 && name !== BASELINE && name.trim() !== '') return name;
  }
  return `${index + 1}: ${heads[index]}`;
}
