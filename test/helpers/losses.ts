import {
  a3m,
  a3mLossSync,
  arcFace,
  arcFaceLossSync,
  combinedMargin,
  cosFace,
  cosFaceLossSync,
  entmaxHead,
  entmaxLossSync,
  type LossFunctionOptions,
  type LossResult,
  type LossSpecification,
  qMargin,
  qMarginLossSync,
  type TensorLike,
} from '../../lib/index.js';

/** Every loss a head takes, with a margin of its own; α and s are the caller's. */
export const lossFamilies = {
  qMargin: (alpha, scale) => qMargin({ alpha, scale, margin: 0.2 }),
  a3m: (alpha, scale) => a3m({ alpha, scale, margin: 0.2 }),
  cosFace: (alpha, scale) => cosFace({ alpha, scale, margin: 0.35 }),
  arcFace: (alpha, scale) => arcFace({ alpha, scale, margin: 0.5 }),
  entmaxHead: (alpha, scale) => entmaxHead({ alpha, scale }),
  combinedMargin: (alpha, scale) =>
    combinedMargin({ alpha, scale, m1: 1.1, m2: 0.3, m3: 0.1 }),
} as const satisfies Record<
  string,
  (alpha: number, scale: number) => LossSpecification
>;

/** Name of a loss family. */
export type LossFamily = keyof typeof lossFamilies;

export const familyNames = Object.keys(lossFamilies) as LossFamily[];

/** The orders every loss is tested at. */
export const orders = [1, 1.25, 1.5, 2] as const;

/** Every family at every order, for `it.each`. */
export const familiesAndOrders = familyNames.flatMap((family) =>
  orders.map((alpha) => ({ family, alpha })),
);

/** The loss function on cosines of a specification. */
export function lossOnCosines(
  loss: LossSpecification,
  cosines: TensorLike,
  labels: Int32Array,
  options: LossFunctionOptions = {},
): LossResult {
  const { alpha, scale, detachMargin } = loss;
  const shared = {
    alpha,
    scale,
    ...options,
    ...(loss.interTopK > 0
      ? { interTopK: { k: loss.interTopK, penalty: loss.interTopKPenalty } }
      : {}),
  };
  const angular = { ...shared, margin: loss.angularMargin, detachMargin };
  switch (loss.name) {
    case 'q-margin':
      return qMarginLossSync(cosines, labels, {
        ...shared,
        margin: loss.measureMargin,
      });
    case 'a3m':
      return a3mLossSync(cosines, labels, angular);
    case 'arcface':
      return arcFaceLossSync(cosines, labels, angular);
    case 'cosface':
      return cosFaceLossSync(cosines, labels, {
        ...shared,
        margin: loss.cosineMargin,
      });
    case 'entmax':
      return entmaxLossSync(cosines, labels, shared);
    case 'combined':
      throw new Error('there is no loss function for combined margins');
  }
}

/** The families that also exist as functions on cosines. */
export const functionFamilies = familyNames.filter(
  (family) => family !== 'combinedMargin',
);
