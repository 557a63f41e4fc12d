import { totalmem } from 'node:os';
import type { CudaDevice } from '../native.js';
import { align } from './align.js';
import {
  mostIdentities,
  PLAN_RULES,
  type PlanPlace,
  type PlanRule,
  type PlanSizes,
  planHead,
  totalBytes,
} from './head-plan.js';

const PLACES: Readonly<Record<PlanPlace, string>> = {
  cpu: 'CPU',
  'cpu-no-shadow': "CPU, shadow 'none'",
  gpu: 'GPU',
  'gpu-int8': 'GPU, mma-int8',
  'gpu-split': 'GPU, mma-split',
};
const RULES = Object.keys(PLAN_RULES) as PlanRule[];

function size(bytes: number): string {
  const [unit, name] = bytes < 1e9 ? [1e6, 'MB'] : [1e9, 'GB'];
  return `${(bytes / unit).toFixed(bytes < 1e10 ? 2 : 1)} ${name}`;
}

const thousands = (count: number) => count.toLocaleString('en');

/** Memory that heads can have: of this machine and of its GPUs. */
function memories(devices: readonly CudaDevice[]) {
  return [
    { name: 'this machine', bytes: totalmem(), on: 'cpu' },
    ...devices.map(({ name, memory }, index) => ({
      name: `cuda:${index} ${name}`,
      bytes: memory,
      on: 'gpu',
    })),
  ];
}

/** What a head of these sizes needs, and what fits here, as lines for people. */
export function planReport(
  sizes: Pick<PlanSizes, 'identities' | 'dim' | 'batch'> & {
    readonly subCentres?: number;
  },
  devices: readonly CudaDevice[],
): string[] {
  const { identities, dim, batch, subCentres = 1 } = sizes;
  const places = Object.keys(PLACES) as PlanPlace[];
  // A prototype of its own for each sub-centre.
  const planned = { dim, batch, identities: identities * subCentres };
  const plans = places.map((place) => planHead(place, planned));
  const row = (name: string, cells: readonly number[]) => [
    name,
    ...cells.map(size),
  ];
  const needs = align([
    ['', ...places.map((place) => PLACES[place])],
    row(
      'prototypes and norms',
      plans.map((plan) => plan.prototypes),
    ),
    row(
      'copy for the filter',
      plans.map((plan) => plan.shadow),
    ),
    row(
      'scratch, at most',
      plans.map((plan) => plan.scratch),
    ),
    ...RULES.map((rule) =>
      row(
        `all, ${rule}`,
        plans.map((plan) => totalBytes(plan, rule)),
      ),
    ),
  ]);
  const fits = memories(devices).flatMap(({ name, bytes, on }) => [
    '',
    `Most identities in ${size(bytes)}, ${name}:`,
    ...align(
      ['', ...RULES].map((rule) => [
        rule,
        ...places
          .filter((place) => place.startsWith(on))
          .map((place) =>
            rule === ''
              ? PLACES[place]
              : thousands(
                  Math.floor(
                    mostIdentities(place, planned, rule as PlanRule, bytes) /
                      subCentres,
                  ),
                ),
          ),
      ]),
    ),
  ]);
  return [
    `A head of ${thousands(identities)} identities${subCentres > 1 ? ` with ${subCentres} sub-centres each` : ''}, width ${dim}, batches of ${batch}`,
    '',
    ...needs,
    ...fits,
  ];
}
