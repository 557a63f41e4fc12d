import { makeResult } from './head-batch.js';
import type { Caller, HeadCalls } from './head-calls.js';
import {
  type HeadContext,
  readCallOptions,
  readMarginOption,
  readStepInputs,
} from './head-inputs.js';
import type { HeadResult } from './head-options.js';
import type { CallOptions } from './invoke.js';
import { giveBack, type RealLike } from './operand.js';
import type { OptimizerSpecification } from './optimizer.js';
import type { RowMarginOptions } from './row-margins.js';
import type { LabelsLike } from './tensor.js';

/**
 * The calls of a head on a labelled batch: with an update; with gradients of the embeddings alone;
 * with neither.
 */
type Kind = 'step' | 'evaluate' | 'forward';

/** A head, as far as these calls depend on it. */
export interface LabelledContext extends HeadContext {
  readonly calls: HeadCalls;
  readonly optimizer: OptimizerSpecification;
}

/** Embeddings, labels, options. */
type Arguments<Options> = readonly [RealLike, LabelsLike, Options | undefined];

/** Runs a call after all earlier ones; arguments are read before this returns. */
export async function callLabelled<Gradient, GradMargins>(
  kind: Kind,
  caller: Caller,
  context: LabelledContext,
  [embeddings, labels, options = {}]: Arguments<RowMarginOptions & CallOptions>,
): Promise<HeadResult<Gradient, GradMargins>> {
  const name = `PrototypeHead.${kind}`;
  const { calls, optimizer } = context;
  const { margins, ...own } = readCallOptions(name, options);
  const { data, classes, loss, outputs } = readStepInputs(
    name,
    context,
    embeddings,
    labels,
    margins,
    kind !== 'forward',
    calls.copies,
  );
  try {
    const stats = await calls.enqueue(name, caller, own, (head, cancel) =>
      kind === 'step'
        ? head.step(data, classes, loss, optimizer, outputs, cancel)
        : head.evaluate(data, classes, loss, outputs, cancel),
    );
    return makeResult(classes, outputs, stats);
  } finally {
    giveBack(data, calls.copies);
  }
}

/** Runs a call at once, on this thread. */
export function callLabelledSync<Gradient, GradMargins>(
  kind: Kind,
  caller: Caller,
  context: LabelledContext,
  [embeddings, labels, options = {}]: Arguments<RowMarginOptions>,
): HeadResult<Gradient, GradMargins> {
  const name = `PrototypeHead.${kind}Sync`;
  const { calls, optimizer } = context;
  const { data, classes, loss, outputs } = readStepInputs(
    name,
    context,
    embeddings,
    labels,
    readMarginOption(name, options),
    kind !== 'forward',
    calls.copies,
  );
  try {
    const stats = calls.now(name, caller, (head) =>
      kind === 'step'
        ? head.stepSync(data, classes, loss, optimizer, outputs)
        : head.evaluateSync(data, classes, loss, outputs),
    );
    return makeResult(classes, outputs, stats);
  } finally {
    giveBack(data, calls.copies);
  }
}
