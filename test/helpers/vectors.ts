import { readFileSync } from 'node:fs';
import {
  a3m,
  cosFace,
  entmaxHead,
  type LossSpecification,
  qMargin,
} from '../../lib/index.js';

/** One float64 reference case; cosines are exact float32 values. */
export interface VectorCase {
  readonly alpha: number;
  readonly scale: number;
  readonly margin: number;
  readonly kind: 'q-margin' | 'a3m' | 'cosface' | 'none';
  readonly label: number;
  readonly cosines: number[];
  readonly reference: number[] | null;
  readonly loss: number;
  readonly gradCosines: number[];
  readonly support: number;
  readonly tau: number;
}

const file = new URL('../vectors/losses.json', import.meta.url);

/** The reference cases, each with a name that finds it again. */
export const vectorCases = (
  JSON.parse(readFileSync(file, 'utf8')) as { cases: VectorCase[] }
).cases.map((testCase, index) => ({
  name: `case ${index}: ${testCase.kind} α ${testCase.alpha.toFixed(2)} s ${testCase.scale} m ${testCase.margin} C ${testCase.cosines.length}`,
  ...testCase,
}));

/** The loss of a case, for a head or the reference. */
export function specificationOf(testCase: VectorCase): LossSpecification {
  const { alpha, scale, margin } = testCase;
  switch (testCase.kind) {
    case 'q-margin':
      return qMargin({ alpha, scale, margin });
    case 'a3m':
      return a3m({ alpha, scale, margin });
    case 'cosface':
      return cosFace({ alpha, scale, margin });
    case 'none':
      return entmaxHead({ alpha, scale });
  }
}
