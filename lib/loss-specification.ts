import { invalidArgument } from './errors.js';
import {
  interTopKFields,
  isPenalty,
  type SharedLossOptions,
} from './inter-top-k.js';
import { checkNumber } from './number-checks.js';
import { readOptions } from './options.js';

/**
 * A loss for {@link PrototypeHead}: plain data, made by {@link qMargin}, {@link a3m},
 * {@link cosFace}, {@link arcFace}, {@link entmaxHead} or {@link combinedMargin}.
 *
 * All are points of one family: logits θ = s·c except at the target,
 * θ_y = s·(cos(m1·φ + m2) − m3) with φ = arccos c_y, and reference measure
 * q_y·exp(−s·m) at the target; the posterior is the α-entmax of θ and q.
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

/** Largest (α−1)·s·m of Q-Margin: beyond it a loss no longer fits float32. */
const LARGEST_MEASURE_EXPONENT = 80;

/** Which margins single rows may have in place of a loss's own. */
export function marginRange(
  loss: LossSpecification,
  place: 'measure' | 'angular' | 'cosine',
): { readonly largest: number; readonly expected: string } {
  switch (place) {
    case 'angular':
      // π as float32 is a little more than π.
      return { largest: Math.fround(Math.PI), expected: 'a number in [0, π]' };
    case 'cosine':
      return { largest: Number.MAX_VALUE, expected: 'a finite number >= 0' };
    case 'measure': {
      const largest =
        LARGEST_MEASURE_EXPONENT / ((loss.alpha - 1) * loss.scale);
      return {
        largest: Math.min(Number.MAX_VALUE, largest),
        expected: `a number in [0, ${largest}] (a loss would overflow float32)`,
      };
    }
  }
}

/** Checks the divergence order α. */
export function checkAlpha(functionName: string, alpha: unknown): number {
  return checkNumber(
    functionName,
    'alpha',
    alpha,
    'a finite number >= 1',
    (value) => value >= 1,
  );
}

/** Fills in, checks and freezes a specification. */
export function lossSpecification(
  functionName: string,
  name: LossSpecification['name'],
  options: Partial<Omit<LossSpecification, 'name'>> & {
    alpha: number;
    scale: number;
  },
): LossSpecification {
  const atLeastZero = (argument: string, value: unknown) =>
    checkNumber(
      functionName,
      argument,
      value,
      'a finite number >= 0',
      (number) => number >= 0,
    );
  const positive = (argument: string, value: unknown) =>
    checkNumber(
      functionName,
      argument,
      value,
      'a finite number > 0',
      (number) => number > 0,
    );
  const alpha = checkAlpha(functionName, options.alpha);
  const scale = positive('scale', options.scale);
  const measureMargin = atLeastZero('margin', options.measureMargin ?? 0);
  const exponent = (alpha - 1) * scale * measureMargin;
  if (exponent > LARGEST_MEASURE_EXPONENT) {
    throw invalidArgument(
      functionName,
      '(alpha - 1) * scale * margin',
      `at most ${LARGEST_MEASURE_EXPONENT} (a loss would overflow float32)`,
      exponent,
    );
  }
  const labelSmoothing = checkNumber(
    functionName,
    'labelSmoothing',
    options.labelSmoothing ?? 0,
    'a number in [0, 1)',
    (number) => number >= 0 && number < 1,
  );
  if (labelSmoothing > 0 && alpha !== 1) {
    throw invalidArgument(
      functionName,
      'labelSmoothing',
      `0 for alpha ${alpha} (it is defined for softmax, alpha 1, alone)`,
      labelSmoothing,
    );
  }
  return Object.freeze({
    name,
    alpha,
    scale,
    measureMargin,
    angleFactor: positive('m1', options.angleFactor ?? 1),
    angularMargin: checkNumber(
      functionName,
      'margin (radians)',
      options.angularMargin ?? 0,
      'a number in [0, π]',
      (number) => number >= 0 && number <= Math.PI,
    ),
    cosineMargin: atLeastZero('margin', options.cosineMargin ?? 0),
    detachMargin: options.detachMargin === true,
    labelSmoothing,
    interTopK: checkNumber(
      functionName,
      'interTopK',
      options.interTopK ?? 0,
      'a whole number >= 0',
      (number) => Number.isSafeInteger(number) && number >= 0,
    ),
    interTopKPenalty: checkNumber(
      functionName,
      'interTopKPenalty',
      options.interTopKPenalty ?? 0,
      'a number in [0, 2]',
      isPenalty,
    ),
  });
}

/** Options of {@link qMargin}. */
export interface QMarginOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1.25. */
  alpha?: number;
  /** Scale s > 0. Default 32. */
  scale?: number;
  /** Margin m ≥ 0 in the reference measure. Default 0.2. */
  margin?: number;
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
  alpha?: number;
  /** Scale s > 0. Default 32. */
  scale?: number;
  /** Angular margin m in [0, π], radians. Default 0.2. */
  margin?: number;
  /** Take the derivative of the margin as 1 instead of sin(φ+m)/sin φ. Default false. */
  detachMargin?: boolean;
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
    detachMargin,
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
    detachMargin: detachMargin === true,
    ...interTopKFields('a3m', interTopK),
  });
}

/** Options of {@link cosFace}. */
export interface CosFaceOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1 (softmax). */
  alpha?: number;
  /** Scale s > 0. Default 64. */
  scale?: number;
  /** Cosine margin m ≥ 0. Default 0.35. */
  margin?: number;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number;
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
  alpha?: number;
  /** Scale s > 0. Default 64. */
  scale?: number;
  /** Angular margin m in [0, π], radians. Default 0.5. */
  margin?: number;
  /** Take the derivative of the margin as 1. Default false. */
  detachMargin?: boolean;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number;
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
    detachMargin,
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
    detachMargin: detachMargin === true,
    labelSmoothing,
    ...interTopKFields('arcFace', interTopK),
  });
}

/** Options of {@link entmaxHead}. */
export interface EntmaxHeadOptions extends SharedLossOptions {
  /** Divergence order α ≥ 1. Default 1.25. */
  alpha?: number;
  /** Scale s > 0. Default 32. */
  scale?: number;
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
  alpha?: number;
  /** Scale s > 0. Default 64. */
  scale?: number;
  /** Factor of the angle, > 0. Default 1. */
  m1?: number;
  /** Added to the angle, radians, in [0, π]. Default 0. */
  m2?: number;
  /** Subtracted from the cosine, ≥ 0. Default 0. */
  m3?: number;
  /** Take the derivative of the margin as 1. Default false. */
  detachMargin?: boolean;
  /**
   * Label smoothing ε in [0, 1), as PyTorch defines it: the target is (1−ε)·e_y + ε/C. At α = 1
   * only. Default 0.
   */
  labelSmoothing?: number;
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
    detachMargin,
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
    detachMargin: detachMargin === true,
    labelSmoothing,
    ...interTopKFields('combinedMargin', interTopK),
  });
}
