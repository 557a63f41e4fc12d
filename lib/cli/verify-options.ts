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
  --report FILE      report to write: one HTML page with curves, histograms, a chooser of
                     thresholds and the history of the training
  --json FILE        results to write (JSON), for --compare and for programs
  --threads N        threads of the CPU backend

Example
  alphamargin verify --embeddings features.npy --labels identities.npy --split split.npy \\
    --head head.safetensors --report report.html`;

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
  return {
    embeddings: read.required('embeddings'),
    source:
      labels !== undefined
        ? { labels, split }
        : { trials: read.required('trials'), names },
    heads: values.head ?? [],
    compare: values.compare ?? [],
    report: read.text('report'),
    json: read.text('json'),
    threads: readThreads(read),
  };
}
