import type { Caller, HeadCalls } from './head-calls.js';
import {
  type HeadContext,
  readCallOptions,
  readMarginOption,
  readNearestInputs,
  readPosteriorInputs,
} from './head-inputs.js';
import type { NearestOptions, NearestResult } from './head-options.js';
import type { CallOptions } from './invoke.js';
import type { RealLike } from './operand.js';
import type { RowMarginOptions } from './row-margins.js';
import type { CsrMatrix, LabelsLike } from './tensor.js';

/** A head, as far as these calls depend on it. */
interface QueryContext extends HeadContext {
  readonly calls: HeadCalls;
}

/** Embeddings, labels, options. */
type PosteriorArguments<Options> = readonly [
  RealLike,
  LabelsLike | null | undefined,
  Options | undefined,
];

/** Posteriors after all earlier calls; arguments are read before this returns. */
export async function callPosterior(
  caller: Caller,
  context: QueryContext,
  [embeddings, labels, options = {}]: PosteriorArguments<
    RowMarginOptions & CallOptions
  >,
): Promise<CsrMatrix> {
  const name = 'PrototypeHead.posterior';
  const { margins, ...own } = readCallOptions(name, options);
  const { rows, data, classes, loss } = readPosteriorInputs(
    name,
    context,
    embeddings,
    labels,
    margins,
  );
  const posterior = await context.calls.enqueue(
    name,
    caller,
    own,
    (head, cancel) => head.posterior(data, classes, loss, cancel),
  );
  return { ...posterior, dims: [rows, context.identities] };
}

/** Posteriors at once, on this thread. */
export function callPosteriorSync(
  caller: Caller,
  context: QueryContext,
  [embeddings, labels, options = {}]: PosteriorArguments<RowMarginOptions>,
): CsrMatrix {
  const name = 'PrototypeHead.posteriorSync';
  const { rows, data, classes, loss } = readPosteriorInputs(
    name,
    context,
    embeddings,
    labels,
    readMarginOption(name, options),
  );
  const posterior = context.calls.now(name, caller, (head) =>
    head.posteriorSync(data, classes, loss),
  );
  return { ...posterior, dims: [rows, context.identities] };
}

/** Nearest identities after all earlier calls; arguments are read before this returns. */
export async function callNearest(
  caller: Caller,
  context: QueryContext,
  queries: RealLike,
  options: NearestOptions & CallOptions = {},
): Promise<NearestResult> {
  const name = 'PrototypeHead.nearest';
  const { data, k, identities, cosines, signal } = readNearestInputs(
    name,
    context,
    queries,
    options,
  );
  await context.calls.enqueue(name, caller, { signal }, (head, cancel) =>
    head.nearest(data, k, identities, cosines, cancel),
  );
  return { identities, cosines };
}

/** Nearest identities at once, on this thread. */
export function callNearestSync(
  caller: Caller,
  context: QueryContext,
  queries: RealLike,
  options: NearestOptions = {},
): NearestResult {
  const name = 'PrototypeHead.nearestSync';
  const { data, k, identities, cosines } = readNearestInputs(
    name,
    context,
    queries,
    options,
  );
  context.calls.now(name, caller, (head) =>
    head.nearestSync(data, k, identities, cosines),
  );
  return { identities, cosines };
}
