import { parseArgs } from 'node:util';
import { OptionReader, readThreads, UsageError } from './usage.js';

/** What `alphamargin verify` was asked to do. */
export interface VerifyArguments {
  readonly embeddings: string;
  /** All pairs of labelled rows, or the pairs of a list. */
  readonly source:
    | { readonly labels: string; readonly split: string | undefined }
    | { readonly trials: string; readonly names: string | undefined };
  /** Checkpoints whose projections are compared with the embeddings as they are. */
  readonly heads: readonly string[];
  /** Results of earlier runs to show beside this one's. */
  readonly compare: readonly string[];
  /** Embeddings to normalise the scores with, and how many of the nearest are taken. */
  readonly cohort: string | undefined;
  readonly cohortTop: number;
  /** Where the score of each trial of a list goes. */
  readonly scores: string | undefined;
  readonly report: string | undefined;
  readonly json: string | undefined;
  readonly threads: number | undefined;
}

const text = { type: 'string' } as const;

const OPTIONS = {
  embeddings: text,
  labels: text,
  split: text,
  trials: text,
  names: text,
  head: { type: 'string', multiple: true },
  compare: { type: 'string', multiple: true },
  cohort: text,
  'cohort-top': text,
  scores: text,
  report: text,
  json: text,
  threads: text,
} as const;

/** Text of `alphamargin verify --help`. */
export const VERIFY_HELP = `Usage: alphamargin verify --embeddings x.npy (--labels y.npy | --trials list.txt) [options]

Measures verification by cosine: TAR at FAR 1e-1 ... 1e-6, EER, minDCF.

  --embeddings FILE  npy or safetensors, [N, D]; Kaldi scp or ark
  --labels FILE      npy, int32, int64 or uint8 [N], or utt2spk of Kaldi: all pairs of rows are
                     compared
  --split FILE       with --labels: npy [N], whole numbers or bool; only rows with value 1 (True)
                     are compared
  --trials FILE      list of pairs, one a line: label (1 same, 0 different), enrolment, test; or
                     enrolment, test, label (target, nontarget) as in Kaldi
  --names FILE       with --trials: the name of each row, one a line; without it the list
                     names rows by number, from 0, or by the utterances of a Kaldi file
  --head FILE        checkpoint of "alphamargin train": its projection is applied first, and the
                     embeddings as they are become the baseline; may be repeated to compare
  --compare FILE     results of an earlier run (its --json) to show beside this one's; may be
                     repeated
  --cohort FILE      embeddings of people who are in no pair, as --embeddings; each system is shown
                     once more with normalised scores: AS-norm, or S-norm when all of them count
  --cohort-top N     with --cohort: how many of the nearest count for each row, >= 2       (300)
  --scores FILE      with --trials: scores to write; each line as in the list, then the score of
                     each system that this run measures, in the order of the table
  --report FILE      report to write: one HTML page with curves, histograms, a chooser of
                     thresholds and the history of the training
  --json FILE        results to write (JSON), for --compare and for programs
  --threads N        threads of the CPU backend

Example
  alphamargin verify --embeddings features.npy --labels identities.npy --split split.npy \\
    --head head.safetensors --report report.html
  alphamargin verify --embeddings test.npy --trials trials.txt --names names.txt \\
    --cohort training-means.npy --cohort-top 300 --scores scores.txt`;

/** Reads and checks the command line of `verify`. */
export function parseVerifyArguments(args: string[]): VerifyArguments {
  const { values } = parseArgs({ args, options: OPTIONS, strict: true });
  const read = new OptionReader(values);
  const [labels, trials] = [read.text('labels'), read.text('trials')];
  if ((labels === undefined) === (trials === undefined)) {
    throw new UsageError('give either --labels or --trials');
  }
  const [split, names] = [read.text('split'), read.text('names')];
  if (split !== undefined && labels === undefined) {
    throw new UsageError('--split goes with --labels');
  }
  if (names !== undefined && trials === undefined) {
    throw new UsageError('--names goes with --trials');
  }
  const [cohort, scores] = [read.text('cohort'), read.text('scores')];
  const cohortTop = read.integer('cohort-top', 2);
  if (cohortTop !== undefined && cohort === undefined) {
    throw new UsageError('--cohort-top goes with --cohort');
  }
  if (scores !== undefined && trials === undefined) {
    throw new UsageError('--scores goes with --trials');
  }
  return {
    embeddings: read.required('embeddings'),
    source:
      labels !== undefined
        ? { labels, split }
        : { trials: read.required('trials'), names },
    heads: values.head ?? [],
    compare: values.compare ?? [],
    cohort,
    cohortTop: cohortTop ?? 300,
    scores,
    report: read.text('report'),
    json: read.text('json'),
    threads: readThreads(read),
  };
}
