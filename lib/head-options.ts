import { chooseBackend, type Device } from './device.js';
import { invalidArgument } from './errors.js';
import {
  type LossSpecification,
  lossSpecification,
} from './loss-specification.js';
import type { NativeHeadStats } from './native.js';
import type { RealLike } from './operand.js';
import {
  type OptimizerSpecification,
  optimizerSpecification,
} from './optimizer.js';
import { readOptions } from './options.js';
import type {
  FloatsLike,
  LabelsLike,
  Matrix,
  TensorLike,
  Vector,
} from './tensor.js';

/** Options of {@link PrototypeHead}. */
export interface PrototypeHeadOptions {
  /** Number of identities C ≥ 1 (below 2^31). */
  identities: number;
  /** Width D ≥ 1 of embeddings and prototypes. */
  dim: number;
  /** Loss, from `qMargin`, `a3m`, `cosFace`, `arcFace`, `entmaxHead` or `combinedMargin`. */
  loss: LossSpecification;
  /** Update rule, from `sgd` or `adagrad`. */
  optimizer: OptimizerSpecification;
  /** Where the head lives. Default `'auto'`. */
  device?: Device | undefined;
  /** Seed of the random prototypes, a whole number ≥ 0. Default 0. */
  seed?: number | undefined;
  /**
   * Prototypes K of each identity, 1 to 256. An identity's cosine is the largest of theirs, ties go
   * to the first, and the gradient flows to that one alone: noisy samples of an identity may gather
   * at a sub-centre of their own. Prototypes are then rows [C·K, D], an identity's K one after
   * another. Memory and time are those of C·K identities. Default 1.
   *
   * Source: Deng et al. 2020, *Sub-center ArcFace* (ECCV 2020).
   */
  subCentres?: number | undefined;
  /** Initial prototypes [C·K, D]; default random directions of unit length. */
  prototypes?: TensorLike | undefined;
  /** Reference measure q [C], positive, not normalised. Default all 1. */
  reference?: FloatsLike | null | undefined;
  /**
   * `'exact'` rescores every class that may be in the support from the float32 prototypes in
   * float64. `'fast'` keeps the filter's cosines on a GPU: of float16 rows, summed in float32, off
   * by up to about 1e-3 (docs/devices.md), as are products with all classes (α = 1). On the CPU it
   * is the same as `'exact'`. Default `'exact'`.
   */
  precision?: 'exact' | 'fast' | undefined;
  /**
   * Bytes that the sparse supports of one batch may take before rows stream through the classes
   * again instead. On the CPU rows that do, as those of α = 1, have their share for cosines that they
   * would compute again. Default 48 MiB; on a GPU, whose batches are larger and which such rows cost
   * more, 128 KiB for each row of the batch and 128 MiB at least.
   */
  scratchBudget?: number | undefined;
  /**
   * What the filter reads. `'auto'`: a copy of the unit prototypes of low precision; on the CPU
   * bytes with a scale for each row, C·D + 8·C bytes (none for D > 65,536), on a GPU see `filter`.
   * `'none'` (CPU only): the float32 prototypes themselves, which takes no memory and up to twice
   * as long. Results agree within the numerical contract. Default `'auto'`.
   */
  shadow?: 'auto' | 'none' | undefined;
  /**
   * Which kernels filter on a GPU, and from what.
   *
   * - `'mma'`: tensor cores, on a float16 copy of the unit prototypes (compute capability 8.0 and
   *   later).
   * - `'mma-int8'`: on an int8 copy with a scale for each row: half the memory and reading, more
   *   candidates to rescore.
   * - `'mma-split'`: on the upper halves (bfloat16) of prototypes that are stored in two 16-bit
   *   halves: no copy, a third less memory than `'mma'`, the same float32 values bit for bit,
   *   somewhat more candidates.
   * - `'wgmma'`, `'wgmma-int8'`, `'wgmma-split'`: the same with the warpgroup instructions of Hopper
   *   (compute capability 9.0, builds with sm_90a).
   * - `'simt'`: no tensor cores, on a float16 copy, any GPU.
   * - `'auto'`: `'mma'` where the GPU has it, else `'simt'`. The CPU takes no other.
   *
   * Those of int8 and split prototypes are not for precision `'fast'`. Results agree within the
   * numerical contract. Default `'auto'`.
   */
  filter?: FilterName | undefined;
}

/** Names of {@link PrototypeHeadOptions.filter}. */
export type FilterName =
  | 'auto'
  | 'simt'
  | 'mma'
  | 'mma-int8'
  | 'mma-split'
  | 'wgmma'
  | 'wgmma-int8'
  | 'wgmma-split';

const FILTERS: readonly FilterName[] = [
  'auto',
  'simt',
  'mma',
  'mma-int8',
  'mma-split',
  'wgmma',
  'wgmma-int8',
  'wgmma-split',
];

/** Filters whose cosines are too coarse to be kept (precision 'fast'). */
const COARSE_FILTERS: readonly FilterName[] = [
  'mma-int8',
  'mma-split',
  'wgmma-int8',
  'wgmma-split',
];

const HEAD_OPTIONS = [
  'identities',
  'dim',
  'loss',
  'optimizer',
  'device',
  'seed',
  'prototypes',
  'reference',
  'precision',
  'scratchBudget',
  'shadow',
  'subCentres',
  'filter',
] as const;

/** Counters of one call of a head. */
export type HeadStats = NativeHeadStats;

/** What `step`, `evaluate` and `forward` return. */
export interface HeadResult<Gradient = Matrix, GradMargins = Vector | null> {
  /** Mean of `losses` over the rows that count (label not −1); 0 when none does. */
  readonly loss: number;
  /** ℓ of each row [B]; 0 for ignored rows, as all that is of a row. */
  readonly losses: Float32Array;
  /** Gradient of the mean loss with respect to the raw embeddings [B, D]; `forward`: null. */
  readonly gradEmbeddings: Gradient;
  /**
   * Gradient of the mean loss with respect to the rows' `margins` [B], when there are any. It is
   * the true derivative, whatever `detachMargin` is.
   */
  readonly gradMargins: GradMargins;
  /** Classes with a positive posterior, per row. */
  readonly supportSize: Int32Array;
  /** 1 where the target's posterior is positive. */
  readonly targetActive: Uint8Array;
  /**
   * Counters: survivors of the filter (on the CPU they depend on earlier calls), support entries,
   * rows that overflowed, rows at zero loss, prototypes touched, peak scratch bytes, bytes of
   * prototypes, their shadow and optimiser state that were read and written (as if no cache kept
   * them; on a GPU an estimate).
   */
  readonly stats: HeadStats;
}

/** Options of `nearest`. */
export interface NearestOptions {
  /** Number of identities to return, 1 ≤ k ≤ C. Default 1. */
  k?: number | undefined;
}

/** What `nearest` returns: N·k entries, best first within a query. */
export interface NearestResult {
  readonly identities: Int32Array;
  readonly cosines: Float32Array;
}

/** A batch of labelled embeddings, for `reinitialize`. */
export interface LabelledBatch {
  readonly embeddings: RealLike;
  readonly labels: LabelsLike;
}

/** Bytes held by a head. */
export interface HeadMemory {
  /** Prototypes, their norms and what the filter reads (on the CPU made on first use). */
  readonly prototypes: number;
  /** Momentum or accumulators. */
  readonly optimizer: number;
  /** Largest scratch of any call so far. */
  readonly scratch: number;
}

/** A scratch budget: so many bytes for each row of a batch, and so many at least. */
export interface ScratchBudget {
  readonly least: number;
  readonly ofRow: number;
}

/** What {@link PrototypeHeadOptions.scratchBudget} means, also where it is not given. */
export function scratchBudgetOf(
  given: number | undefined,
  isOnCpu: boolean,
): ScratchBudget {
  if (given !== undefined) return { least: given, ofRow: 0 };
  return isOnCpu
    ? { least: 48 * 2 ** 20, ofRow: 0 }
    : { least: 128 * 2 ** 20, ofRow: 128 * 2 ** 10 };
}

/** Largest count that fits the addon's 32-bit indices. */
const LARGEST_COUNT = 2 ** 31 - 1;

/** Most sub-centres of an identity. */
export const LARGEST_SUB_CENTRES = 256;

/** Checks a whole number in a range. */
export function checkWhole(
  functionName: string,
  argument: string,
  value: unknown,
  smallest: number,
  largest: number,
): number {
  if (
    typeof value !== 'number' ||
    !Number.isInteger(value) ||
    value < smallest ||
    value > largest
  ) {
    throw invalidArgument(
      functionName,
      argument,
      `a whole number in [${smallest}, ${largest}]`,
      value,
    );
  }
  return value;
}

/** Checks a loss specification, whoever made it. */
export function checkLoss(
  functionName: string,
  loss: unknown,
): LossSpecification {
  if (typeof loss !== 'object' || loss === null || !('name' in loss)) {
    throw invalidArgument(
      functionName,
      'loss',
      'a loss specification such as qMargin()',
      loss,
    );
  }
  const specification = loss as LossSpecification;
  return lossSpecification(functionName, specification.name, specification);
}

/** Checks an update rule, whoever made it. */
/** Checks an update rule. */
export function checkOptimizer(
  functionName: string,
  optimizer: unknown,
): OptimizerSpecification {
  if (typeof optimizer !== 'object' || optimizer === null) {
    throw invalidArgument(
      functionName,
      'optimizer',
      'an update rule such as sgd()',
      optimizer,
    );
  }
  return optimizerSpecification(
    functionName,
    optimizer as OptimizerSpecification,
  );
}

/** Checks the filter against the device and the precision it is to run with. */
function checkFilter(
  name: string,
  filter: unknown,
  backend: string,
  precision: 'exact' | 'fast',
): FilterName {
  const found = FILTERS.find((known) => known === filter);
  if (found === undefined) {
    const expected =
      "'auto', 'simt', 'mma', 'mma-int8', 'mma-split', 'wgmma', 'wgmma-int8' or 'wgmma-split'";
    throw invalidArgument(name, 'filter', expected, filter);
  }
  if (found !== 'auto' && backend === 'cpu') {
    throw invalidArgument(name, 'filter', "'auto' on the CPU", filter);
  }
  if (COARSE_FILTERS.includes(found) && precision === 'fast') {
    const expected = "'auto', 'simt', 'mma' or 'wgmma' with precision 'fast'";
    throw invalidArgument(name, 'filter', expected, filter);
  }
  return found;
}

/** Checks the options of a head; its arrays are checked by their readers. */
export function readHeadOptions(name: string, options: PrototypeHeadOptions) {
  const given = readOptions<PrototypeHeadOptions>(name, options, HEAD_OPTIONS);
  const backend = chooseBackend(name, given.device);
  const whole = (
    argument: string,
    value: unknown,
    smallest: number,
    largest: number,
  ) => checkWhole(name, argument, value, smallest, largest);
  const precision = given.precision ?? 'exact';
  if (precision !== 'exact' && precision !== 'fast') {
    throw invalidArgument(name, 'precision', "'exact' or 'fast'", precision);
  }
  const shadow = given.shadow ?? 'auto';
  if (shadow !== 'auto' && shadow !== 'none') {
    throw invalidArgument(name, 'shadow', "'auto' or 'none'", shadow);
  }
  if (shadow === 'none' && backend.name !== 'cpu') {
    throw invalidArgument(name, 'shadow', "'auto' on a GPU", shadow);
  }
  const identities = whole('identities', given.identities, 1, LARGEST_COUNT);
  const subCentres = whole(
    'subCentres',
    given.subCentres ?? 1,
    1,
    LARGEST_SUB_CENTRES,
  );
  if (identities * subCentres > LARGEST_COUNT) {
    throw invalidArgument(
      name,
      'identities * subCentres',
      `at most ${LARGEST_COUNT}`,
      identities * subCentres,
    );
  }
  const settings = {
    identities,
    subCentres,
    dim: whole('dim', given.dim, 1, LARGEST_COUNT),
    seed: whole('seed', given.seed ?? 0, 0, Number.MAX_SAFE_INTEGER),
    precision,
    // Only where it was given: checkpoints go on on other devices, with their own default.
    ...(given.scratchBudget !== undefined && {
      scratchBudget: whole(
        'scratchBudget',
        given.scratchBudget,
        0,
        Number.MAX_SAFE_INTEGER,
      ),
    }),
  };
  return {
    backend,
    scratchBudget: scratchBudgetOf(
      settings.scratchBudget,
      backend.name === 'cpu',
    ),
    hasShadow: shadow === 'auto',
    filter: checkFilter(name, given.filter ?? 'auto', backend.name, precision),
    settings,
    loss: checkLoss(name, given.loss),
    optimizer: checkOptimizer(name, given.optimizer),
    reference: given.reference,
    prototypes: given.prototypes,
  };
}
