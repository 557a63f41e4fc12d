import { interTopKFields, type SharedLossOptions } from './inter-top-k.js';
import { lossSpecification } from './loss-checks.js';
import { readOptions } from './options.js';

export { checkAlpha, lossSpecification, marginRange } from './loss-checks.js';

/**
 * A loss for {@link PrototypeHead}: plain data, made by {@link qMargin}, {@link a3m},
 * {@link cosFace}, {@link arcFace}, {@link entmaxHead} or {@link combinedMargin}.
 *
 * All are points of one family: logits θ = s·c except at the target,
 * θ_y = s·(cos(m1·φ + m2) − m3) with φ = arccos c_y, and reference measure
 * q_y·exp(−s·m) at the target; the posterior is the α-entmax of θ and q.
 *
 * One made by hand (`{ ...head.loss, scale: 20 }`) must have every field and no other; what its
 * loss does not have is 0, m1 is 1 and `detachMargin` false.
 */
export interface LossSpecification {
  /** Name for people and checkpoints. */
  readonly name:
    | 'q-margin'
    | 'a3m'
    | 'cosface'
    | 'arcface'
    | 'entmax'
    | 'combined';
  /** Divergence order α ≥ 1; 1 is softmax. */
  readonly alpha: number;
  /** Scale s > 0 of the cosines. */
  readonly scale: number;
  /** Q-Margin m ≥ 0, in the reference measure. */
  readonly measureMargin: number;
  /** Factor m1 > 0 of the target's angle. */
  readonly angleFactor: number;
  /** Additive angular margin m2 in [0, π], radians. */
  readonly angularMargin: number;
  /** Additive cosine margin m3 ≥ 0. */
  readonly cosineMargin: number;
  /** Whether the derivative of the angular margin is taken as 1. */
  readonly detachMargin: boolean;
  /** Label smoothing ε in [0, 1); above 0 at α = 1 only. */
  readonly labelSmoothing: number;
  /** How many classes have the inter-top-K penalty; 0: none. */
  readonly interTopK: number;
  /** That penalty m' ≥ 0, in units of the cosine. */
  readonly interTopKPenalty: number;
}

/** Options of {@link qMargin}. */
export interface QMarginOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1.25. */
  alpha?: number | undefined;
  /** Scale s > 0. Default 32. */
  scale?: number | undefined;
  /** Margin m ≥ 0 in the reference measure. Default 0.2. */
  margin?: number | undefined;
}

/**
 * Q-Margin: the target's reference measure becomes q_y·exp(−s·m).
 *
 * Published settings: faces α 1.25, s 32–35, m 0.2; speakers α 1.5–1.75, s 5–10, m 0.1–0.2.
 * Source: Koutsianos et al. 2025, arXiv 2511.13621; 2026, arXiv 2606.31664.
 *
 * @example
 * const loss = qMargin({ alpha: 1.25, scale: 32, margin: 0.2 });
 */
export function qMargin(options: QMarginOptions = {}): LossSpecification {
  const {
    alpha = 1.25,
    scale = 32,
    margin = 0.2,
    interTopK,
  } = readOptions<QMarginOptions>('qMargin', options, [
    'alpha',
    'scale',
    'margin',
    'interTopK',
  ]);
  return lossSpecification('qMargin', 'q-margin', {
    alpha,
    scale,
    measureMargin: margin,
    ...interTopKFields('qMargin', interTopK),
  });
}

/** Options of {@link a3m}. */
export interface A3mOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1.25. */
  alpha?: number | undefined;
  /** Scale s > 0. Default 32. */
  scale?: number | undefined;
  /** Angular margin m in [0, π], radians. Default 0.2. */
  margin?: number | undefined;
  /** Take the derivative of the margin as 1 instead of sin(φ+m)/sin φ. Default false. */
  detachMargin?: boolean | undefined;
}

/**
 * A3M: angular margin in the logits, θ_y = s·cos(arccos c_y + m). Rows whose target leaves the
 * support are its collapse diagnostic (`targetActive`); see `PrototypeHead.reinitialize`.
 *
 * Source: Koutsianos et al. 2025, arXiv 2511.13621.
 *
 * @example
 * const loss = a3m({ alpha: 1.25, scale: 32, margin: 0.2 });
 */
export function a3m(options: A3mOptions = {}): LossSpecification {
  const {
    alpha = 1.25,
    scale = 32,
    margin = 0.2,
    detachMargin = false,
    interTopK,
  } = readOptions<A3mOptions>('a3m', options, [
    'alpha',
    'scale',
    'margin',
    'detachMargin',
    'interTopK',
  ]);
  return lossSpecification('a3m', 'a3m', {
    alpha,
    scale,
    angularMargin: margin,
    detachMargin,
    ...interTopKFields('a3m', interTopK),
  });
}

/** Options of {@link cosFace}. */
export interface CosFaceOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1 (softmax). */
  alpha?: number | undefined;
  /** Scale s > 0. Default 64. */
  scale?: number | undefined;
  /** Cosine margin m ≥ 0. Default 0.35. */
  margin?: number | undefined;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number | undefined;
}

/**
 * CosFace: θ_y = s·(c_y − m), with softmax unless `alpha` says otherwise. With label smoothing,
 * ℓ = τ − (1−ε)·θ_y − (ε/C)·Σ_j θ_j and ∂ℓ/∂θ_j = p_j − ε/C − (1−ε)·1[j = y].
 *
 * Source: Wang et al. 2018, arXiv 1801.09414.
 *
 * @example
 * const loss = cosFace({ scale: 64, margin: 0.35 });
 */
export function cosFace(options: CosFaceOptions = {}): LossSpecification {
  const {
    alpha = 1,
    scale = 64,
    margin = 0.35,
    labelSmoothing = 0,
    interTopK,
  } = readOptions<CosFaceOptions>('cosFace', options, [
    'alpha',
    'scale',
    'margin',
    'labelSmoothing',
    'interTopK',
  ]);
  return lossSpecification('cosFace', 'cosface', {
    alpha,
    scale,
    cosineMargin: margin,
    labelSmoothing,
    ...interTopKFields('cosFace', interTopK),
  });
}

/** Options of {@link arcFace}. */
export interface ArcFaceOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1 (softmax). */
  alpha?: number | undefined;
  /** Scale s > 0. Default 64. */
  scale?: number | undefined;
  /** Angular margin m in [0, π], radians. Default 0.5. */
  margin?: number | undefined;
  /** Take the derivative of the margin as 1. Default false. */
  detachMargin?: boolean | undefined;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number | undefined;
}

/**
 * ArcFace: θ_y = s·cos(arccos c_y + m), with softmax unless `alpha` says otherwise.
 *
 * Source: Deng et al. 2019, arXiv 1801.07698.
 *
 * @example
 * const loss = arcFace({ scale: 64, margin: 0.5 });
 */
export function arcFace(options: ArcFaceOptions = {}): LossSpecification {
  const {
    alpha = 1,
    scale = 64,
    margin = 0.5,
    detachMargin = false,
    labelSmoothing = 0,
    interTopK,
  } = readOptions<ArcFaceOptions>('arcFace', options, [
    'alpha',
    'scale',
    'margin',
    'detachMargin',
    'labelSmoothing',
    'interTopK',
  ]);
  return lossSpecification('arcFace', 'arcface', {
    alpha,
    scale,
    angularMargin: margin,
    detachMargin,
    labelSmoothing,
    ...interTopKFields('arcFace', interTopK),
  });
}

/** Options of {@link entmaxHead}. */
export interface EntmaxHeadOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1.25. */
  alpha?: number | undefined;
  /** Scale s > 0. Default 32. */
  scale?: number | undefined;
}

/**
 * The α-divergence loss without a margin (the papers' "EntMax" baseline).
 *
 * Source: Roulet et al. 2025, arXiv 2501.18537; Peters et al. 2019, arXiv 1905.05702.
 *
 * @example
 * const loss = entmaxHead({ alpha: 1.5, scale: 10 });
 */
export function entmaxHead(options: EntmaxHeadOptions = {}): LossSpecification {
  const {
    alpha = 1.25,
    scale = 32,
    interTopK,
  } = readOptions<EntmaxHeadOptions>('entmaxHead', options, [
    'alpha',
    'scale',
    'interTopK',
  ]);
  return lossSpecification('entmaxHead', 'entmax', {
    alpha,
    scale,
    ...interTopKFields('entmaxHead', interTopK),
  });
}

/** Options of {@link combinedMargin}. */
export interface CombinedMarginOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1 (softmax). */
  alpha?: number | undefined;
  /** Scale s > 0. Default 64. */
  scale?: number | undefined;
  /** Factor of the angle, > 0. Default 1. */
  m1?: number | undefined;
  /** Added to the angle, radians, in [0, π]. Default 0. */
  m2?: number | undefined;
  /** Subtracted from the cosine, ≥ 0. Default 0. */
  m3?: number | undefined;
  /** Take the derivative of the margin as 1. Default false. */
  detachMargin?: boolean | undefined;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number | undefined;
}

/**
 * Combined margin: θ_y = s·(cos(m1·φ + m2) − m3), φ = arccos c_y.
 *
 * Source: Deng et al. 2019, arXiv 1801.07698, equation 4.
 *
 * @example
 * const loss = combinedMargin({ scale: 64, m1: 1, m2: 0.3, m3: 0.2 });
 */
export function combinedMargin(
  options: CombinedMarginOptions = {},
): LossSpecification {
  const {
    alpha = 1,
    scale = 64,
    m1 = 1,
    m2 = 0,
    m3 = 0,
    detachMargin = false,
    labelSmoothing = 0,
    interTopK,
  } = readOptions<CombinedMarginOptions>('combinedMargin', options, [
    'alpha',
    'scale',
    'm1',
    'm2',
    'm3',
    'detachMargin',
    'labelSmoothing',
    'interTopK',
  ]);
  return lossSpecification('combinedMargin', 'combined', {
    alpha,
    scale,
    angleFactor: m1,
    angularMargin: m2,
    cosineMargin: m3,
    detachMargin,
    labelSmoothing,
    ...interTopKFields('combinedMargin', interTopK),
  });
}
