import { checkNumber } from './number-checks.js';
import { readOptions } from './options.js';

/** Inter-top-K penalty, an option of every loss. */
export interface InterTopK {
  /** Number of classes K ≥ 1 that it is for; more than there are means all. */
  k: number;
  /** m' in [0, 2], in units of the cosine. */
  penalty: number;
}

/** Options that every loss takes. */
export interface SharedLossOptions {
  /**
   * Inter-top-K penalty: the K classes other than the target with the largest cosines get
   * θ_j = s·(c_j + m'), so that the most similar wrong classes are pushed away harder. Ties go to
   * the smaller class. Which classes they are is taken as fixed by the gradient. Posteriors without
   * labels have no penalty. Default none.
   *
   * Source: Zhao et al. 2022, arXiv 2110.05042.
   */
  interTopK?: InterTopK | undefined;
}

/** The fields of a specification that the shared option makes. */
export function interTopKFields(functionName: string, interTopK?: InterTopK) {
  if (interTopK === undefined) return {};
  const { k, penalty } = readOptions<InterTopK>(
    functionName,
    interTopK,
    ['k', 'penalty'],
    'interTopK',
  );
  return {
    interTopK: checkNumber(
      functionName,
      'interTopK.k',
      k,
      'a whole number >= 1',
      (value) => Number.isSafeInteger(value) && value >= 1,
    ),
    interTopKPenalty: checkNumber(
      functionName,
      'interTopK.penalty',
      penalty,
      'a number in [0, 2]',
      isPenalty,
    ),
  };
}

/** Two cosines differ by 2 at most. */
export const isPenalty = (value: number) => value >= 0 && value <= 2;
