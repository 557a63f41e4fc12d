import { readFile } from 'node:fs/promises';
import { damagedFile, fileError } from '../io/file-errors.js';
import { condenseScores } from '../verification/condense-scores.js';
import { summarize } from '../verification/summarize.js';
import { printable } from '../verification/systems.js';
import {
  readTrainingEpochs,
  type TrainingEpoch,
} from '../verification/training-history.js';
import type { TrialScores } from '../verification/trial-scores.js';
import type { ReportSystem } from '../verification/verification-report.js';

/** What `verify --json` writes: one system a line. */
export function resultsText(
  embeddings: string,
  systems: readonly ReportSystem[],
): string {
  const lines = systems.map(({ name, scores, training }) => {
    const { resolution, ...arrays } = condenseScores(scores);
    const { thresholds, genuineCounts, impostorCounts } = arrays;
    const saved = {
      resolution,
      thresholds: [...thresholds],
      genuineCounts: [...genuineCounts],
      impostorCounts: [...impostorCounts],
    };
    const summary = summarize(scores);
    return JSON.stringify({ name, summary, training, scores: saved });
  });
  const path = JSON.stringify(embeddings);
  return `{"embeddings":${path},"systems":[\n${lines.join(',\n')}\n]}\n`;
}

/**
 * The systems of an earlier `verify --json`.
 *
 * @throws AlphaMarginError `ERR_CHECKPOINT` when the file cannot be read or holds
 *   something else.
 */
export async function readResults(file: string): Promise<ReportSystem[]> {
  const systems = Object(await readJson(file)).systems;
  if (!Array.isArray(systems) || systems.length === 0) {
    throw damagedFile(file, 'not results of "alphamargin verify --json"');
  }
  return systems.map((system: unknown, index) => {
    const { name, scores, training } = Object(system);
    const place = `systems[${index}]`;
    if (typeof name !== 'string' || printable(name).trim() === '') {
      throw damagedFile(file, `${place} has no name`);
    }
    if (scores === undefined) {
      throw damagedFile(file, `${place} holds no scores: run verify again`);
    }
    return {
      name: printable(name),
      scores: readScores(file, place, scores),
      ...(training !== undefined && {
        training: readHistory(file, `${place}.training`, training),
      }),
    };
  });
}

/** A history from a file, checked. */
export function readHistory(
  file: string,
  place: string,
  value: unknown,
): TrainingEpoch[] {
  try {
    return readTrainingEpochs('verify', place, value);
  } catch {
    throw damagedFile(file, `its ${place} is damaged`);
  }
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw fileError(file, 'read', cause);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw damagedFile(file, 'not JSON');
  }
}

/** Scores are checked whole: every metric takes them as they are. */
function readScores(file: string, place: string, value: unknown): TrialScores {
  const { resolution, thresholds, genuineCounts, impostorCounts } =
    Object(value);
  const isCount = (count: unknown) =>
    Number.isSafeInteger(count) && Number(count) >= 0;
  const lists = [thresholds, genuineCounts, impostorCounts];
  if (
    !(Number.isFinite(resolution) && resolution >= 0) ||
    !lists.every(Array.isArray) ||
    lists.some(({ length }) => length !== thresholds.length) ||
    !thresholds.every(Number.isFinite) ||
    thresholds.some(
      (t: number, k: number) => k > 0 && !(t < thresholds[k - 1]),
    ) ||
    ![...genuineCounts, ...impostorCounts].every(isCount)
  ) {
    throw damagedFile(file, `the scores of ${place} are damaged`);
  }
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  const scores: TrialScores = {
    genuinePairs: sum(genuineCounts),
    impostorPairs: sum(impostorCounts),
    resolution,
    thresholds: Float64Array.from(thresholds),
    genuineCounts: Float64Array.from(genuineCounts),
    impostorCounts: Float64Array.from(impostorCounts),
  };
  if (scores.genuinePairs === 0 || scores.impostorPairs === 0) {
    throw damagedFile(file, `${place} lacks genuine or impostor pairs`);
  }
  return scores;
}
