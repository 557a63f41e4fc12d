import { parseArgs } from 'node:util';
import type { Device } from '../device.js';
import { adagrad, sgd } from '../optimizer.js';
import { chooseLoss, LOSS_NAMES, parseInterTopK } from './loss-options.js';
import { parseSampler, SAMPLER_NAMES } from './sampling.js';
import { parseLearningRateSchedule, parseMarginRamp } from './schedules.js';
import { readSubCentres } from './sub-centres-option.js';
import type { TrainingRecipe } from './training-recipe.js';
import { asUsage, OptionReader, readThreads, UsageError } from './usage.js';

/** What `alphamargin train` was asked to do. */
export interface TrainArguments {
  /** One set, the rows of the first file first. */
  readonly embeddings: readonly string[];
  readonly labels: string;
  readonly split: string | undefined;
  readonly out: string;
  readonly log: string | undefined;
  /** Checkpoint whose prototypes, and projection, the run starts from. */
  readonly init: string | undefined;
  readonly resume: boolean;
  /** Whether a file at `out` may be replaced. */
  readonly overwrite: boolean;
  readonly device: Device;
  readonly threads: number | undefined;
  /** Epochs between checkpoints; 0 for one at the end only. */
  readonly checkpointEvery: number;
  readonly recipe: TrainingRecipe;
}

const text = { type: 'string' } as const;

const OPTIONS = {
  embeddings: { type: 'string', multiple: true },
  labels: text,
  split: text,
  out: text,
  log: text,
  init: text,
  resume: { type: 'boolean' },
  overwrite: { type: 'boolean' },
  device: text,
  threads: text,
  'checkpoint-every': text,
  loss: text,
  alpha: text,
  scale: text,
  margin: text,
  'margin-ramp': text,
  'label-smoothing': text,
  'inter-top-k': text,
  'logit-adjustment': text,
  'sub-centres': text,
  project: text,
  'project-init': text,
  'project-lr': text,
  epochs: text,
  batch: text,
  sampler: text,
  'block-rows': text,
  'buffer-rows': text,
  'class-power': text,
  samples: text,
  lr: text,
  'lr-schedule': text,
  warmup: text,
  momentum: text,
  'weight-decay': text,
  optimizer: text,
  noise: text,
  seed: text,
  'reinitialize-at': text,
} as const;

/** Text of `alphamargin train --help`. */
export const TRAIN_HELP = `Usage: alphamargin train --embeddings x.npy --labels y.npy --out head.safetensors [options]

Trains a prototype head on embeddings, with a linear projection in front of it if asked for.

Files
  --embeddings FILE     npy or safetensors, [N, D]; Kaldi scp or ark; may be repeated: the files
                        are one set, which may be larger than memory
  --labels FILE         npy, int32, int64 or uint8 [N]: the identity of each row; for Kaldi
                        files an utt2spk map, too
  --split FILE          npy [N], whole numbers or bool: only rows with value 0 (False) are trained
                        on; 1 (True) marks the test rows, rows with another value are in neither
                        part
  --out FILE            checkpoint to write (safetensors); where there is a file, one of the next
                        two says what becomes of it
  --resume              go on from --out where it stopped; needs the same options, --epochs too
  --overwrite           replace --out if it exists
  --init FILE           start from the prototypes of another checkpoint, and from its projection
                        with --project, in place of random ones; identities, width and
                        sub-centres must be the same, all else may differ; not with --resume
  --log FILE            history of the epochs to write (JSON)
  --checkpoint-every N  epochs between checkpoints; 0: only at the end         (1)

Loss
  --loss NAME           ${LOSS_NAMES.join(' | ')}   (q-margin)
  --alpha A             order of the divergence, >= 1      (1.25; cosface, arcface: 1)
  --scale S             factor of the cosines, > 0         (32; cosface, arcface: 64)
  --margin M            margin, >= 0      (0.2; cosface: 0.35; arcface: 0.5 radians)
  --margin-ramp A:B     margin 0 until A epochs are done, exponential rise until B
  --label-smoothing E   of cosface and arcface with alpha 1, in [0, 1)          (0)
  --inter-top-k K:P     penalty P, in [0, 2], on the cosines of the K most similar wrong
                        identities, K >= 1                                    (off)
  --logit-adjustment T  reference measure n^T for an identity of n rows, T >= 0; with alpha 1
                        logit adjustment                                      (off)
  --sub-centres K       prototypes of each identity, 1 to 256                    (1)
  --reinitialize-at N   after N epochs, replace each prototype by its class mean

Projection
  --project D           learn a linear projection to D dimensions
  --project-init HOW    with --project: identity | random, where --init brings none
                                                                         (identity)
  --project-lr RATE     with --project: its learning rate                    (--lr)

Optimisation
  --epochs N            passes over the data                                   (15)
  --batch N             rows per step                                         (128)
  --optimizer NAME      sgd | adagrad (rule of the prototypes)                (sgd)
  --lr RATE             initial learning rate                                (0.05)
  --momentum MU         of sgd and of the projection, in [0, 1)               (0.9)
  --weight-decay L      of prototypes and projection                         (5e-4)
  --lr-schedule S       linear | cosine | poly:K | steps:10,20:0.1 | exp[:RATIO] | constant
                                                                           (linear)
  --warmup N            epochs of linear rise of the learning rate              (0)
  --noise SIGMA         Gaussian noise added to the features in each step       (0)
  --seed N              of prototypes, order and noise                          (0)

Rows of a step
  --sampler NAME        ${SAMPLER_NAMES.join(' | ')}
                                                                         (shuffled)
  --block-rows N        of shuffled: neighbouring rows that are read together    (64)
  --buffer-rows N       of shuffled: rows mixed at a time; two such buffers are held
                                           (32 MiB of float32, at most 65536 rows)
  --class-power P       of class-balanced: an identity of n rows is drawn with probability
                        ~ n^P, P in [0, 1]                                        (0)
  --samples K           of identity-samples: rows of each identity in a step      (4)

Machine
  --device NAME         auto | cpu | cuda | cuda:N                           (auto)
  --threads N           threads of the CPU backend

Ctrl-C finishes the running step and writes a checkpoint.
Example
  alphamargin train --embeddings features.npy --labels identities.npy --split split.npy \\
    --project 256 --loss q-margin --alpha 1.25 --scale 32 --margin 0.2 --out head.safetensors`;

/** Reads and checks the command line of `train`. */
export function parseTrainArguments(args: string[]): TrainArguments {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true });
  const read = new OptionReader(values);
  const embeddings = read.list('embeddings');
  const labels = read.required('labels');
  const out = read.required('out');
  const [resume, overwrite] = [read.flag('resume'), read.flag('overwrite')];
  if (resume && overwrite) {
    throw new UsageError(
      'give either --resume, which goes on from --out, or --overwrite, which replaces it',
    );
  }
  const recipe = parseRecipe(read);
  const init = read.text('init');
  if (init !== undefined && resume) {
    throw new UsageError(
      'give either --init, which starts a new run, or --resume, which goes on from --out',
    );
  }
  return {
    embeddings,
    labels,
    split: read.text('split'),
    out,
    log: read.text('log'),
    init,
    resume,
    overwrite,
    device: parseDevice(read.text('device') ?? 'auto'),
    threads: readThreads(read),
    checkpointEvery: read.integer('checkpoint-every', 0) ?? 1,
    recipe,
  };
}

function parseDevice(text: string): Device {
  if (!/^(auto|cpu|cuda|cuda:\d+)$/.test(text)) {
    throw new UsageError(
      `--device must be auto, cpu, cuda or cuda:N, not '${text}'`,
    );
  }
  return text as Device;
}

function parseRecipe(read: OptionReader): TrainingRecipe {
  const positive = (name: string) =>
    read.number(name, 'a number > 0', (value) => value > 0);
  const atLeastZero = (name: string) =>
    read.number(name, 'a number >= 0', (value) => value >= 0);
  const interTopK = read.text('inter-top-k');
  const loss = asUsage(() =>
    chooseLoss({
      name: read.choice('loss', LOSS_NAMES, 'q-margin'),
      alpha: read.number('alpha', 'a number >= 1', (value) => value >= 1),
      scale: positive('scale'),
      margin: atLeastZero('margin'),
      labelSmoothing: read.number(
        'label-smoothing',
        'a number in [0, 1)',
        (value) => value >= 0 && value < 1,
      ),
      interTopK:
        interTopK === undefined ? undefined : parseInterTopK(interTopK),
    }),
  );
  const momentum =
    read.number(
      'momentum',
      'a number in [0, 1)',
      (value) => value >= 0 && value < 1,
    ) ?? 0.9;
  const learningRate = positive('lr') ?? 0.05;
  const weightDecay = atLeastZero('weight-decay') ?? 5e-4;
  const epochs = read.integer('epochs', 1) ?? 15;
  const reinitializeAt = read.integer('reinitialize-at', 1) ?? null;
  if (reinitializeAt !== null && reinitializeAt >= epochs) {
    throw new UsageError(
      `--reinitialize-at must be less than --epochs ${epochs}, not ${reinitializeAt}`,
    );
  }
  const learningRateSchedule = read.text('lr-schedule') ?? 'linear';
  parseLearningRateSchedule(learningRateSchedule);
  const marginRamp = read.text('margin-ramp') ?? null;
  if (marginRamp !== null) parseMarginRamp(marginRamp);
  const batch = read.integer('batch', 1) ?? 128;
  const dim = read.integer('project', 1);
  for (const name of ['project-init', 'project-lr']) {
    if (dim === undefined && read.text(name) !== undefined) {
      throw new UsageError(
        `--${name} needs --project D: without it no projection is trained`,
      );
    }
  }
  const start = read.choice('project-init', ['identity', 'random'], 'identity');
  const projectionRate = positive('project-lr') ?? learningRate;
  return {
    loss,
    subCentres: readSubCentres(read),
    logitAdjustment: atLeastZero('logit-adjustment') ?? null,
    optimizer: asUsage(() =>
      read.choice('optimizer', ['sgd', 'adagrad'], 'sgd') === 'sgd'
        ? sgd({ learningRate, momentum, weightDecay })
        : adagrad({ learningRate, weightDecay }),
    ),
    epochs,
    batch,
    sampler: parseSampler(read, batch),
    seed: read.integer('seed', 0) ?? 0,
    noise: atLeastZero('noise') ?? 0,
    learningRateSchedule,
    warmup: atLeastZero('warmup') ?? 0,
    marginRamp,
    reinitializeAt,
    projection:
      dim === undefined
        ? null
        : { dim, start, learningRate: projectionRate, momentum },
  };
}
