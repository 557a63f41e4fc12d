/*
 * What a head needs, from its sizes alone: the arrays it allocates (native/head/prototype_state.cc,
 * native/cuda/head/device_state.cu) and the scratch of a call. test/cli/head-plan.test.ts holds the
 * figures against heads that exist.
 */
import { scratchBudgetOf } from '../head-options.js';

/** Where a head can live, and what its filter reads there. */
export type PlanPlace =
  | 'cpu'
  | 'cpu-no-shadow'
  | 'gpu'
  | 'gpu-int8'
  | 'gpu-split';

/** Sizes of a planned head. */
export interface PlanSizes {
  readonly identities: number;
  readonly dim: number;
  readonly batch: number;
  /** Default: that of a head where it is planned. */
  readonly scratchBudget?: number;
}

/** Bytes of a head and of one of its calls. */
export interface HeadPlan {
  /** float32 prototypes, whole or in halves, and their norms. */
  readonly prototypes: number;
  /** The filter's low-precision copy, and what belongs to it. */
  readonly shadow: number;
  /** SGD with momentum: a float32 row for each prototype. */
  readonly momentum: number;
  /** Row-wise Adagrad: a number for each prototype. */
  readonly accumulators: number;
  /** Most scratch of a call with this batch. */
  readonly scratch: number;
}

const roundedUp = (value: number, to: number) => Math.ceil(value / to) * to;

const WIDEST_CPU_SHADOW = 2 ** 16;

/** Bytes of the shadow: rows are filled up to what the filter reads at a time. */
const SHADOWS: Readonly<Record<PlanPlace, (sizes: PlanSizes) => number>> = {
  // A scale and a residual for each row; none for rows too wide for it.
  cpu: ({ identities, dim }) =>
    dim > WIDEST_CPU_SHADOW
      ? 0
      : roundedUp(identities, 24) * (roundedUp(dim, 16) + 8),
  'cpu-no-shadow': () => 0,
  gpu: ({ identities, dim }) => 2 * identities * roundedUp(dim, 32),
  // A scale and a residual for each row.
  'gpu-int8': ({ identities, dim }) => identities * (roundedUp(dim, 64) + 8),
  // What upper halves are filled up by, a scale and a residual.
  'gpu-split': ({ identities, dim }) =>
    identities * (2 * (roundedUp(dim, 32) - dim) + 8),
};

const isOnCpu = (place: PlanPlace) => place.startsWith('cpu');

/** Bytes a candidate takes of the scratch budget until the backward pass is done. */
const BYTES_PER_CANDIDATE = 60;
const LISTED_BYTES = 8;
const ENTRY_BYTES = 20;
/** A pair of row and class, while they are sorted and afterwards. */
const SORTING_BYTES = 24;
const PAIR_BYTES = 17;
const FIRST_GROUP = 256;
/** Classes that rows stream past at a time; on a GPU up to four times as many. */
const CHUNK = 4096;
const MOST_CHUNKS = 4;
const CHUNK_ELEMENTS = 11 * 2 ** 20;
/** Rows of products are filled up to slabs; sums over classes come in pieces. */
const SLAB = 32;
const PIECE = 512;
const ROW_STATE_BYTES = 208;
/** What the kernels take whatever the sizes. */
const FIXED_BYTES = 2 * 2 ** 20;

/** Most candidates of a row, and what its list has room for. */
function candidatesOf(place: PlanPlace, sizes: PlanSizes) {
  const { identities, batch } = sizes;
  const { least, ofRow } = scratchBudgetOf(sizes.scratchBudget, isOnCpu(place));
  const budget = Math.max(least, ofRow * batch);
  const limit = Math.max(16, Math.floor(budget / BYTES_PER_CANDIDATE / batch));
  return {
    kept: Math.min(identities, limit),
    listed: Math.min(identities, Math.max(2 * limit, limit + FIRST_GROUP)),
  };
}

/** Candidates, supports and pairs of the rows, and what rows that stream take besides. */
function cpuScratch(place: PlanPlace, sizes: PlanSizes) {
  const { identities, dim, batch } = sizes;
  const { kept, listed } = candidatesOf(place, sizes);
  const candidates =
    LISTED_BYTES * listed + (kept + 1) * (BYTES_PER_CANDIDATE + 12);
  const chunk = Math.min(identities, CHUNK);
  return batch * (candidates + 16 * chunk + 16 * dim) + chunk * (4 * dim + 16);
}

/** What rows that stream through all classes take on a GPU: each, and whatever their number. */
function streamedScratch({ identities, dim, batch }: PlanSizes) {
  let chunk = MOST_CHUNKS * CHUNK;
  while (chunk > CHUNK && chunk * (batch + dim) > CHUNK_ELEMENTS) chunk /= 2;
  chunk = Math.min(identities, chunk);
  const pairs = 4 * roundedUp(dim, SLAB);
  const coefficients = 4 * roundedUp(chunk, SLAB);
  const pieces = 4 * (dim + 1) * Math.ceil(chunk / PIECE);
  return {
    // Cosines, coefficients, and sums of the gradient of the embeddings.
    ofRow: 8 * chunk + pieces + 8 * dim + coefficients + pairs,
    besides:
      (roundedUp(batch, SLAB) - batch) * (coefficients + pairs) +
      // The product for the gradient of the prototypes.
      roundedUp(chunk, SLAB) * (pairs + 4 * dim + 16),
  };
}

/** The largest of what its parts hold one after the other. */
function gpuScratch(place: PlanPlace, sizes: PlanSizes) {
  const { batch } = sizes;
  const { kept, listed } = candidatesOf(place, sizes);
  const streamed = streamedScratch(sizes);
  return Math.max(
    batch *
      Math.max(
        LISTED_BYTES * listed + ENTRY_BYTES * kept,
        ENTRY_BYTES * kept + SORTING_BYTES * (kept + 1),
      ),
    // A row that streams has no candidates.
    batch *
      Math.max(
        ENTRY_BYTES * kept + PAIR_BYTES * (kept + 1),
        streamed.ofRow + SORTING_BYTES,
      ) +
      streamed.besides,
  );
}

function scratchBytes(place: PlanPlace, sizes: PlanSizes) {
  const { dim, batch } = sizes;
  const rows = batch * (24 * roundedUp(dim, 64) + ROW_STATE_BYTES);
  const parts = isOnCpu(place)
    ? cpuScratch(place, sizes)
    : gpuScratch(place, sizes);
  return rows + parts + FIXED_BYTES;
}

/**
 * What a head of C identities and width D needs.
 *
 * @param place Where it lives and what its filter reads.
 * @param sizes C, D, the batch B and the head's `scratchBudget`, if it is not the default.
 */
export function planHead(place: PlanPlace, sizes: PlanSizes): HeadPlan {
  const { identities, dim } = sizes;
  return {
    prototypes: identities * (4 * dim + 8),
    shadow: SHADOWS[place](sizes),
    momentum: 4 * identities * dim,
    accumulators: 4 * identities,
    scratch: scratchBytes(place, sizes),
  };
}

/** State that a rule of update adds. */
export const PLAN_RULES = {
  'sgd without momentum': () => 0,
  'row-wise Adagrad': ({ accumulators }: HeadPlan) => accumulators,
  'sgd with momentum': ({ momentum }: HeadPlan) => momentum,
} as const;

/** A rule of update, by name. */
export type PlanRule = keyof typeof PLAN_RULES;

/** All bytes of a head under a rule of update. */
export function totalBytes(plan: HeadPlan, rule: PlanRule): number {
  const { prototypes, shadow, scratch } = plan;
  return prototypes + shadow + scratch + PLAN_RULES[rule](plan);
}

/** The most identities a head of this width can have within some bytes; 0 when none fits. */
export function mostIdentities(
  place: PlanPlace,
  sizes: Omit<PlanSizes, 'identities'>,
  rule: PlanRule,
  bytes: number,
): number {
  const fits = (identities: number) =>
    totalBytes(planHead(place, { ...sizes, identities }), rule) <= bytes;
  let low = 0;
  let high = 2 ** 31;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}
