import { inspect } from 'node:util';
import {
  type CheckpointExtra,
  checkExtra,
  writeCheckpoint,
} from './checkpoint.js';
import { readIdentities, readPrototypes } from './head-batch.js';
import { HeadCalls } from './head-calls.js';
import {
  checkLoss,
  checkOptimizer,
  type HeadMemory,
  type HeadResult,
  type LabelledBatch,
  type NearestOptions,
  type NearestResult,
  type PrototypeHeadOptions,
  readHeadOptions,
} from './head-options.js';
import { type CallOptions, invokeSync } from './invoke.js';
import { filePath } from './io/file-path.js';
import {
  callLabelled,
  callLabelledSync,
  type LabelledContext,
} from './labelled-calls.js';
import { loadHead } from './load-head.js';
import type { LossSpecification } from './loss-specification.js';
import type { RealLike, ResultOf } from './operand.js';
import { checkLearningRate, type OptimizerSpecification } from './optimizer.js';
import { readOptions } from './options.js';
import { readPrototypeRows, rowsOf } from './prototype-rows.js';
import {
  callNearest,
  callNearestSync,
  callPosterior,
  callPosteriorSync,
} from './query-calls.js';
import { reinitialize } from './reinitialize.js';
import type { MarginGradients, RowMarginOptions } from './row-margins.js';
import {
  type CsrMatrix,
  type LabelsLike,
  type Matrix,
  readReference,
  type TensorLike,
} from './tensor.js';

/** A name for `console.log`. */
const InspectedHead = class PrototypeHead {};

type Changeable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * A classification head over many identities: one prototype w_j per identity, cosines
 * c_ij = x̂_i·ŵ_j with the embeddings, an α-divergence margin loss on them. One {@link step}
 * computes the losses and the gradient of the embeddings and updates the prototypes in place.
 *
 * No [B, C] array exists at any time: prototypes stream past the batch, a rising lower bound of
 * each row's threshold drops the classes that cannot be in its support, and what is left is
 * solved exactly in float64 from the float32 prototypes. Only prototypes with a non-zero gradient
 * are touched; momentum and weight decay act on a prototype only when it is.
 *
 * Asynchronous calls of one head run one after another in the order of the calls; arguments are
 * copied when the call is made. The same calls give the same bits for any number of threads.
 *
 * @example
 * const head = new PrototypeHead({
 *   identities: 1000, dim: 128, loss: qMargin(), optimizer: sgd({ learningRate: 0.1 }),
 * });
 * const { loss, gradEmbeddings } = await head.step(embeddings, labels);
 */
export class PrototypeHead implements Disposable {
  readonly #calls: HeadCalls;
  readonly #settings: ReturnType<typeof readHeadOptions>['settings'];
  readonly #reference: Float32Array | null;
  /** One object for all calls: to make it takes as long as all else that a call reads. */
  readonly #context: Changeable<LabelledContext>;

  /**
   * @param options Sizes, loss, update rule and the rest; see {@link PrototypeHeadOptions}.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE` (a prototype),
   * `ERR_OUT_OF_MEMORY`, `ERR_DEVICE`.
   */
  constructor(options: PrototypeHeadOptions) {
    const name = 'PrototypeHead';
    const given = readHeadOptions(name, options);
    const { identities, dim, seed, subCentres } = given.settings;
    this.#settings = given.settings;
    this.#reference = readReference(name, given.reference, identities);
    const prototypes =
      given.prototypes === undefined
        ? null
        : readPrototypes(name, given.prototypes, identities * subCentres, dim);
    this.#calls = invokeSync(name, PrototypeHead, () => {
      const { backend } = given;
      const reference = this.#reference;
      const head = backend.makeHead(
        identities,
        dim,
        seed,
        reference,
        given.scratchBudget.least,
        given.scratchBudget.ofRow,
        given.hasShadow,
        subCentres,
        given.filter,
        given.settings.precision === 'fast',
      );
      if (prototypes !== null) head.setPrototypes(null, prototypes);
      return new HeadCalls(backend, head);
    });
    this.#context = {
      ...this.#settings,
      backend: given.backend,
      calls: this.#calls,
      loss: given.loss,
      optimizer: given.optimizer,
    };
  }

  /** Where the head lives: 'cpu', 'cuda:N'. */
  get device(): string {
    return this.#calls.backend.name;
  }

  /** Number of identities C. */
  get identities(): number {
    return this.#settings.identities;
  }

  /** Prototypes K of each identity. */
  get subCentres(): number {
    return this.#settings.subCentres;
  }

  /** Width D. */
  get dim(): number {
    return this.#settings.dim;
  }

  /** Loss of the calls that follow; set it for margin schedules. */
  get loss(): LossSpecification {
    return this.#context.loss;
  }
  set loss(loss: LossSpecification) {
    this.#context.loss = checkLoss('PrototypeHead.loss', loss);
  }

  /** Learning rate of the steps that follow; set it for schedules. */
  get learningRate(): number {
    return this.#context.optimizer.learningRate;
  }
  set learningRate(learningRate: number) {
    checkLearningRate(
      'PrototypeHead.learningRate',
      learningRate,
      this.#context.optimizer.weightDecay,
    );
    this.#context.optimizer = Object.freeze({
      ...this.#context.optimizer,
      learningRate,
    });
  }

  /**
   * The update rule with its current learning rate. With another one, what both rules keep (the
   * momentum, the accumulators) goes on after the next step, and what only one of them keeps begins
   * at zero or is freed.
   */
  get optimizer(): OptimizerSpecification {
    return this.#context.optimizer;
  }
  set optimizer(optimizer: OptimizerSpecification) {
    this.#context.optimizer = checkOptimizer(
      'PrototypeHead.optimizer',
      optimizer,
    );
  }

  /**
   * One training step: losses, gradient of the mean loss with respect to the embeddings, and the
   * update of the prototypes. An aborted or failed step changes nothing.
   *
   * @param embeddings x [B, D], raw (they are normalised inside), float32 or float16.
   * @param labels Identity of each row [B], in [0, C), or −1: the row is not read, its loss and
   * gradient are 0, and means are taken over the other rows.
   * @param options `margins` of single rows, see {@link RowMarginOptions}; `signal`.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`, `ERR_NON_FINITE`, `ERR_LABEL_RANGE`,
   * `ERR_OUT_OF_MEMORY`, `ERR_DISPOSED`.
   */
  async step<
    Embeddings extends RealLike,
    Options extends RowMarginOptions & CallOptions,
  >(
    embeddings: Embeddings,
    labels: LabelsLike,
    options?: Options,
  ): Promise<HeadResult<ResultOf<Embeddings>, MarginGradients<Options>>> {
    const given = [embeddings, labels, options] as const;
    return callLabelled('step', this.step, this.#context, given);
  }

  /** {@link step} on the calling thread. `ERR_BUSY` while asynchronous calls are pending. */
  stepSync<Embeddings extends RealLike, Options extends RowMarginOptions>(
    embeddings: Embeddings,
    labels: LabelsLike,
    options?: Options,
  ): HeadResult<ResultOf<Embeddings>, MarginGradients<Options>> {
    const given = [embeddings, labels, options] as const;
    return callLabelledSync('step', this.stepSync, this.#context, given);
  }

  /** What {@link step} returns, without the update. */
  async evaluate<
    Embeddings extends RealLike,
    Options extends RowMarginOptions & CallOptions,
  >(
    embeddings: Embeddings,
    labels: LabelsLike,
    options?: Options,
  ): Promise<HeadResult<ResultOf<Embeddings>, MarginGradients<Options>>> {
    const given = [embeddings, labels, options] as const;
    return callLabelled('evaluate', this.evaluate, this.#context, given);
  }

  /** {@link evaluate} on the calling thread. */
  evaluateSync<Embeddings extends RealLike, Options extends RowMarginOptions>(
    embeddings: Embeddings,
    labels: LabelsLike,
    options?: Options,
  ): HeadResult<ResultOf<Embeddings>, MarginGradients<Options>> {
    const given = [embeddings, labels, options] as const;
    return callLabelledSync(
      'evaluate',
      this.evaluateSync,
      this.#context,
      given,
    );
  }

  /**
   * The forward pass alone, for a validation loss: what {@link evaluate} returns, without the
   * gradient of the embeddings.
   */
  async forward(
    embeddings: RealLike,
    labels: LabelsLike,
    options?: RowMarginOptions & CallOptions,
  ): Promise<HeadResult<null>> {
    const given = [embeddings, labels, options] as const;
    return callLabelled('forward', this.forward, this.#context, given);
  }

  /** {@link forward} on the calling thread. */
  forwardSync(
    embeddings: RealLike,
    labels: LabelsLike,
    options?: RowMarginOptions,
  ): HeadResult<null> {
    const given = [embeddings, labels, options] as const;
    return callLabelledSync('forward', this.forwardSync, this.#context, given);
  }

  /**
   * Posterior of each embedding over the identities, as sparse rows.
   *
   * @param embeddings x [B, D].
   * @param labels With labels, the loss's margin is applied to each row's target; without, none is.
   * A row labelled −1 is not read and comes back empty.
   */
  async posterior(
    embeddings: RealLike,
    labels?: LabelsLike | null,
    options?: RowMarginOptions & CallOptions,
  ): Promise<CsrMatrix> {
    const given = [embeddings, labels, options] as const;
    return callPosterior(this.posterior, this.#context, given);
  }

  /** {@link posterior} on the calling thread. */
  posteriorSync(
    embeddings: RealLike,
    labels?: LabelsLike | null,
    options?: RowMarginOptions,
  ): CsrMatrix {
    const given = [embeddings, labels, options] as const;
    return callPosteriorSync(this.posteriorSync, this.#context, given);
  }

  /**
   * The k identities whose prototypes have the largest cosine with each query: exact, as a full
   * float64 search would find them; ties go to the smaller identity. With sub-centres, an
   * identity's cosine is that of its nearest.
   *
   * @param queries [N, D].
   * @returns N·k identities and cosines, best first within a query.
   */
  async nearest(
    queries: RealLike,
    options?: NearestOptions & CallOptions,
  ): Promise<NearestResult> {
    return callNearest(this.nearest, this.#context, queries, options);
  }

  /** {@link nearest} on the calling thread. */
  nearestSync(queries: RealLike, options?: NearestOptions): NearestResult {
    return callNearestSync(this.nearestSync, this.#context, queries, options);
  }

  /**
   * Re-initialisation of A3M: every prototype becomes the normalised mean of the L2-normalised
   * embeddings of its class over the batches, and its optimiser state is zeroed. Classes without
   * a sample keep theirs; rows labelled −1 are passed over. Sums exist for the classes seen only;
   * restrict a pass with `identities` to bound the memory. If the batches fail, nothing changes.
   * With sub-centres, each becomes the mean of the samples it is nearest to; those without any stay.
   *
   * @returns Number of prototypes that were replaced.
   * @see Koutsianos et al. 2025, arXiv 2511.13621.
   */
  async reinitialize(
    batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
    options: { identities?: Int32Array } & CallOptions = {},
  ): Promise<number> {
    const name = 'PrototypeHead.reinitialize';
    this.#calls.checkOpen(name);
    const { identities, signal } = readOptions<typeof options>(name, options, [
      'identities',
      'signal',
    ]);
    const chosen = readIdentities(name, identities, this.identities);
    return reinitialize(
      name,
      this.#calls,
      [this.identities, this.dim],
      batches,
      chosen,
      signal,
    );
  }

  /** Raw prototypes [n·K, D] of the given identities, K sub-centres each; default all. */
  async prototypes(identities?: Int32Array): Promise<Matrix> {
    const name = 'PrototypeHead.prototypes';
    this.#calls.checkOpen(name);
    const chosen = readIdentities(name, identities, this.identities);
    return this.#calls.enqueue(name, this.prototypes, {}, (head) =>
      readPrototypeRows(name, head, this.#settings, chosen),
    );
  }

  /**
   * Replaces prototypes and zeroes their optimiser state. All rows are checked before the first
   * is written.
   *
   * @param prototypes [n·K, D], K sub-centres of each identity, finite, norms in [1e-30, 1e30].
   * @param identities Which [n]; of one that comes twice the later row counts. Default all C.
   */
  async setPrototypes(
    prototypes: TensorLike,
    identities?: Int32Array,
  ): Promise<void> {
    const name = 'PrototypeHead.setPrototypes';
    this.#calls.checkOpen(name);
    const chosen = readIdentities(name, identities, this.identities);
    const rows = chosen && rowsOf(chosen, this.subCentres);
    const count = rows?.length ?? this.identities * this.subCentres;
    const data = readPrototypes(name, prototypes, count, this.dim);
    await this.#calls.enqueue(name, this.setPrototypes, {}, (head) =>
      head.setPrototypes(rows, data),
    );
  }

  /** Bytes held by this head. */
  memory(): HeadMemory {
    return this.#calls.head.memory();
  }

  /**
   * Writes a checkpoint (safetensors): prototypes, optimiser state, loss and settings. A loaded
   * head continues with the same bits as one that was never saved. The file is replaced only when
   * the new one is complete on disk.
   *
   * @param path File to write.
   * @param options `extra`: tensors and metadata of the caller's, kept in the same file. The head's
   * own names ({@link CheckpointExtra}) are refused.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT` for `extra`; `ERR_CHECKPOINT` when the file cannot
   * be written.
   */
  async save(
    path: string | URL,
    options: { extra?: CheckpointExtra } = {},
  ): Promise<void> {
    const name = 'PrototypeHead.save';
    const given = readOptions<typeof options>(name, options, ['extra']);
    const extra = checkExtra(name, given.extra);
    const target = filePath(name, path);
    const settings = {
      ...this.#settings,
      loss: this.#context.loss,
      optimizer: this.#context.optimizer,
    };
    await this.#calls.enqueue(name, this.save, {}, (native) =>
      writeCheckpoint(target, native, settings, this.#reference, extra),
    );
  }

  /**
   * Loads a checkpoint that {@link save} wrote. Tensors and metadata of the caller's are left to
   * `openSafetensors`; a later {@link save} does not carry them on.
   *
   * @throws AlphaMarginError `ERR_CHECKPOINT` when the file is missing, truncated, damaged or
   * another kind of file.
   */
  static async load(
    path: string | URL,
    options: Pick<PrototypeHeadOptions, 'device' | 'shadow' | 'filter'> = {},
  ): Promise<PrototypeHead> {
    const name = 'PrototypeHead.load';
    const source = filePath(name, path);
    const given = readOptions<typeof options>(name, options, [
      'device',
      'shadow',
      'filter',
    ]);
    return loadHead(name, PrototypeHead.load, source, (settings) => {
      const head = new PrototypeHead({ ...settings, ...given });
      return { head, native: head.#calls.head };
    });
  }

  /** Frees the head's memory once pending calls have ended. Calls made afterwards fail. */
  dispose(): void {
    this.#calls.close();
  }

  /** What `console.log` shows of a head. */
  [inspect.custom](): object {
    const { identities, dim, subCentres, device, loss, optimizer } = this;
    const sizes = { identities, dim, subCentres, device };
    return Object.assign(new InspectedHead(), sizes, { loss, optimizer });
  }

  /** {@link dispose}, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
