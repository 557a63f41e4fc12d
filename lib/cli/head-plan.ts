/*
 * What a head needs, from its sizes alone: the arrays it allocates (native/head/prototype_state.cc,
 * native/cuda/head/device_state.cu) and the scratch of a call. test/cli/head-plan.test.ts holds the
 * figures against heads that exist.
 */
import { SCRATCH_BUDGETS } from '../head-options.js';

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

/** Bytes a candidate takes until the backward pass is done, and the list it waits in. */
const BYTES_PER_CANDIDATE = 60;
const SORTING_BYTES = 12;
const FIRST_GROUP = 256;
const CHUNK = 4096;
const ROW_STATE_BYTES = 160;
/** What the kernels take whatever the sizes. */
const FIXED_BYTES = 2 * 2 ** 20;

/** Candidates, supports and pairs of the rows, and what rows that stream take besides. */
function scratchBytes(place: PlanPlace, sizes: PlanSizes) {
  const { identities, dim, batch } = sizes;
  const scratchBudget =
    sizes.scratchBudget ??
    SCRATCH_BUDGETS[place.startsWith('cpu') ? 'cpu' : 'gpu'];
  const limit = Math.max(
    16,
    Math.floor(scratchBudget / BYTES_PER_CANDIDATE / batch),
  );
  const kept = Math.min(identities, limit);
  const listed = Math.min(identities, Math.max(2 * limit, limit + FIRST_GROUP));
  const candidates =
    batch * (8 * listed + (kept + 1) * (BYTES_PER_CANDIDATE + SORTING_BYTES));
  const rows = batch * (24 * roundedUp(dim, 64) + ROW_STATE_BYTES);
  const chunk = Math.min(identities, CHUNK);
  // Prototypes in halves are put together for the products.
  const joined = place === 'gpu-split' ? 4 * dim : 0;
  const streaming =
    chunk * (16 * batch + 4 * dim + joined + 16) + 16 * batch * dim;
  return candidates + rows + streaming + FIXED_BYTES;
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
