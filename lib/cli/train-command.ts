import { existsSync } from 'node:fs';
import { openEmbeddings } from '../data/open-embeddings.js';
import { checkWritable, writeTextAtomically } from '../io/atomic-file.js';
import { setThreadCount } from '../thread-count.js';
import { startFrom } from './initial-checkpoint.js';
import { checkOutputs, filesOf, isFile } from './output-checks.js';
import { bufferRowsOf, trainingPlan } from './sampling.js';
import { StopRequest } from './stop-request.js';
import { parseTrainArguments, type TrainArguments } from './train-options.js';
import { train } from './training.js';
import { loadTraining, saveTraining } from './training-checkpoint.js';
import { readTrainingData, type TrainingData } from './training-data.js';
import { trainingProgress } from './training-progress.js';
import { type TakenFrom, TrainingState } from './training-state.js';
import { UsageError } from './usage.js';

/** Numbers in a set from which reading it once takes long enough to say so. */
const LONG_CHECK = 2 ** 28;

export { TRAIN_HELP as help } from './train-options.js';

/** Runs `alphamargin train`; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const options = parseTrainArguments(args);
  const { recipe, out } = options;
  await checkFiles(options);
  // Better now than after an hour of training.
  await checkWritable(out);
  if (options.log !== undefined) await checkWritable(options.log);
  await using dataset = await openEmbeddings(options.embeddings);
  const progress = trainingProgress(recipe.epochs);
  if (dataset.count * dataset.dim > LONG_CHECK) {
    progress.note(`checking ${dataset.count} rows before the first step`);
  }
  const data = await readTrainingData(dataset, options, progress.note);
  if (options.threads !== undefined) setThreadCount(options.threads);

  const steps = recipe.epochs * trainingPlan(data, recipe).stepsPerEpoch;
  const resuming = options.resume && existsSync(out);
  const state = resuming
    ? await loadTraining(out, data, recipe, options.device)
    : options.init !== undefined
      ? await startFrom(options.init, data, recipe, options.device)
      : TrainingState.start(data, recipe, options.device);
  progress.note(describeStart(data, options, state, resuming));

  using stop = new StopRequest(progress.note);
  const save = async () => {
    await saveTraining(out, state, data, recipe);
    await writeLog(options, state);
  };
  try {
    if (state.step >= steps) {
      await writeLog(options, state);
      progress.note(
        `nothing was left to do: ${out} holds all ${recipe.epochs} epochs`,
      );
      return 0;
    }
    const completed = await train(state, data, recipe, {
      onStep: progress.onStep,
      async onEpoch(record) {
        progress.onEpoch(record);
        const every = options.checkpointEvery;
        const last = record.epoch === recipe.epochs;
        if (every > 0 && record.epoch % every === 0 && !last) await save();
      },
      shouldStop: () => stop.requested,
    });
    await save();
    progress.close();
    progress.note(
      completed
        ? `trained: ${out}`
        : `stopped after step ${state.step} of ${steps}: ${out} holds the checkpoint; ` +
            `run the same command with --resume${inPlaceOf(options)} to go on`,
    );
    return completed ? 0 : stop.exitCode;
  } finally {
    progress.close();
    state.dispose();
  }
}

/** What --resume takes the place of. */
function inPlaceOf({ init, overwrite }: TrainArguments): string {
  const replaced = [
    ...(init === undefined ? [] : ['--init']),
    ...(overwrite ? ['--overwrite'] : []),
  ];
  return replaced.length === 0 ? '' : ` in place of ${replaced.join(' and ')}`;
}

/** Refuses outputs whose writing would destroy an input, or what an earlier run has trained. */
async function checkFiles(options: TrainArguments): Promise<void> {
  const { embeddings, labels, split, init, out, log, resume, overwrite } =
    options;
  await checkOutputs(
    filesOf({ out, log }),
    filesOf({ embeddings, labels, split, init }),
  );
  if (!resume && !overwrite && isFile(out)) {
    throw new UsageError(
      `--out ${out} exists: --resume goes on from it, --overwrite replaces it`,
    );
  }
}

function describeStart(
  data: TrainingData,
  { recipe, resume, out }: TrainArguments,
  state: TrainingState,
  resuming: boolean,
): string {
  const { loss, projection, sampler } = recipe;
  const { dim } = data.source;
  const sizes =
    `${data.rows.length} rows of ${data.identities.length} identities, ` +
    `D = ${dim}${projection ? ` projected to ${projection.dim}` : ''}`;
  const start = resuming
    ? `; resuming after step ${state.step}`
    : resume
      ? `; ${out} does not exist yet: starting`
      : state.from !== null
        ? `; starting from the ${describeTaken(state.from)}`
        : '';
  const mixed =
    sampler.name === 'shuffled' && bufferRowsOf(sampler, dim) < data.rows.length
      ? `; read from disk, ${bufferRowsOf(sampler, dim)} rows at a time are mixed`
      : '';
  return `${loss.name}, alpha ${loss.alpha}, scale ${loss.scale}: ${sizes}${mixed}${start}`;
}

function describeTaken({ path, projection }: TakenFrom): string {
  if (projection === 'taken') return `prototypes and projection of ${path}`;
  const rest = projection === 'left' ? ', without its projection' : '';
  return `prototypes of ${path}${rest}`;
}

/** Writes the history for programs. */
async function writeLog(
  { log, recipe }: TrainArguments,
  { history, step, from }: TrainingState,
): Promise<void> {
  if (log === undefined) return;
  const content = { recipe, ...(from && { from }), step, history };
  await writeTextAtomically(log, `${JSON.stringify(content, null, 2)}\n`);
}
