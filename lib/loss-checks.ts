import { invalidArgument } from './errors.js';
import { isPenalty } from './inter-top-k.js';
import type { LossSpecification } from './loss-specification.js';
import { checkNumber } from './number-checks.js';

type LossName = LossSpecification['name'];

/** What no loss has unless it is given. */
const NEUTRAL = {
  measureMargin: 0,
  angleFactor: 1,
  angularMargin: 0,
  cosineMargin: 0,
  detachMargin: false,
  labelSmoothing: 0,
  interTopK: 0,
  interTopKPenalty: 0,
} as const satisfies Partial<LossSpecification>;

type OptionalField = keyof typeof NEUTRAL;
const OPTIONAL_FIELDS = Object.keys(NEUTRAL) as OptionalField[];

/** Every loss has these. */
const SHARED_FIELDS = ['interTopK', 'interTopKPenalty'] as const;

/** What a loss may have besides; in every other one of the fields it is neutral. */
const OWN_FIELDS: Readonly<Record<LossName, readonly OptionalField[]>> = {
  'q-margin': ['measureMargin'],
  a3m: ['angularMargin', 'detachMargin'],
  cosface: ['cosineMargin', 'labelSmoothing'],
  arcface: ['angularMargin', 'detachMargin', 'labelSmoothing'],
  entmax: [],
  combined: [
    'angleFactor',
    'angularMargin',
    'cosineMargin',
    'detachMargin',
    'labelSmoothing',
  ],
};

const FIELDS: readonly string[] = [
  'name',
  'alpha',
  'scale',
  ...OPTIONAL_FIELDS,
];

const atLeastZero = {
  expected: 'a finite number >= 0',
  accept: (value: number) => value >= 0,
};
const positive = {
  expected: 'a finite number > 0',
  accept: (value: number) => value > 0,
};

/** The values that a field may have. */
const RANGES = {
  alpha: {
    expected: 'a finite number >= 1',
    accept: (value: number) => value >= 1,
  },
  scale: positive,
  measureMargin: atLeastZero,
  angleFactor: positive,
  angularMargin: {
    expected: 'a number in [0, π]',
    accept: (value: number) => value >= 0 && value <= Math.PI,
  },
  cosineMargin: atLeastZero,
  labelSmoothing: {
    expected: 'a number in [0, 1)',
    accept: (value: number) => value >= 0 && value < 1,
  },
  interTopK: {
    expected: 'a whole number >= 0',
    accept: (value: number) => Number.isSafeInteger(value) && value >= 0,
  },
  interTopKPenalty: { expected: 'a number in [0, 2]', accept: isPenalty },
};

type NumberField = keyof typeof RANGES;
const NUMBER_FIELDS = Object.keys(RANGES) as NumberField[];

/** What fields are called among the options of the functions that make losses. */
const MARGIN_OPTIONS: Partial<Record<keyof LossSpecification, string>> = {
  measureMargin: 'margin',
  angularMargin: 'margin (radians)',
  cosineMargin: 'margin',
};
const COMBINED_OPTIONS: Partial<Record<keyof LossSpecification, string>> = {
  angleFactor: 'm1',
  angularMargin: 'm2 (radians)',
  cosineMargin: 'm3',
};

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
  const { expected, accept } = RANGES.alpha;
  return checkNumber(functionName, 'alpha', alpha, expected, accept);
}

/** Options of a function that makes a loss, by the fields they become. */
type LossFields = Partial<Omit<LossSpecification, 'name'>> & {
  readonly alpha: number;
  readonly scale: number;
};

/**
 * Fills in, checks and freezes a specification. Fields with a name among them are a specification
 * that the caller made: it must have every field and no other, and is told of them as `loss.FIELD`.
 */
export function lossSpecification(
  functionName: string,
  name: LossName,
  fields: LossFields,
): LossSpecification {
  const given: Partial<LossSpecification> = { ...fields };
  if ('name' in fields) {
    return checkFields(
      functionName,
      checkShape(functionName, given),
      (field) => `loss.${field}`,
    );
  }
  const options = name === 'combined' ? COMBINED_OPTIONS : MARGIN_OPTIONS;
  return checkFields(
    functionName,
    { ...NEUTRAL, ...fields, name },
    (field) => options[field] ?? field,
  );
}

/** Checks name and keys of a specification that somebody made. */
function checkShape(
  functionName: string,
  given: Partial<LossSpecification>,
): LossSpecification {
  const { name } = given;
  if (typeof name !== 'string' || !Object.hasOwn(OWN_FIELDS, name)) {
    const names = Object.keys(OWN_FIELDS).map((known) => `'${known}'`);
    throw invalidArgument(
      functionName,
      'loss.name',
      `one of ${names.join(', ')}`,
      name,
    );
  }
  const other = Object.keys(given).find((key) => !FIELDS.includes(key));
  if (other !== undefined) {
    throw invalidArgument(
      functionName,
      'loss',
      `made of ${FIELDS.join(', ')}`,
      other,
    );
  }
  return given as LossSpecification;
}

/** Checks the values of a specification that has its keys. */
function checkFields(
  functionName: string,
  given: LossSpecification,
  argumentOf: (field: keyof LossSpecification) => string,
): LossSpecification {
  const { name, detachMargin } = given;
  if (typeof detachMargin !== 'boolean') {
    const argument = argumentOf('detachMargin');
    throw invalidArgument(
      functionName,
      argument,
      'true or false',
      detachMargin,
    );
  }
  // A loop, not a call for each field: the frames of an error's stack are few.
  const numbers = {} as Record<NumberField, number>;
  for (const field of NUMBER_FIELDS) {
    const { expected, accept } = RANGES[field];
    const argument = argumentOf(field);
    numbers[field] = checkNumber(
      functionName,
      argument,
      given[field],
      expected,
      accept,
    );
  }
  const { alpha, scale, measureMargin, labelSmoothing } = numbers;
  const loss: LossSpecification = {
    name,
    alpha,
    scale,
    measureMargin,
    angleFactor: numbers.angleFactor,
    angularMargin: numbers.angularMargin,
    cosineMargin: numbers.cosineMargin,
    detachMargin,
    labelSmoothing,
    interTopK: numbers.interTopK,
    interTopKPenalty: numbers.interTopKPenalty,
  };
  const allowed: readonly string[] = [...SHARED_FIELDS, ...OWN_FIELDS[name]];
  for (const field of OPTIONAL_FIELDS) {
    if (loss[field] === NEUTRAL[field] || allowed.includes(field)) continue;
    throw invalidArgument(
      functionName,
      argumentOf(field),
      `${NEUTRAL[field]} for '${name}', which has none`,
      loss[field],
    );
  }
  const exponent = (alpha - 1) * scale * measureMargin;
  if (exponent > LARGEST_MEASURE_EXPONENT) {
    const factors = [argumentOf('scale'), argumentOf('measureMargin')];
    throw invalidArgument(
      functionName,
      `(${argumentOf('alpha')} - 1) * ${factors.join(' * ')}`,
      `at most ${LARGEST_MEASURE_EXPONENT} (a loss would overflow float32)`,
      exponent,
    );
  }
  if (labelSmoothing > 0 && alpha !== 1) {
    throw invalidArgument(
      functionName,
      argumentOf('labelSmoothing'),
      `0 for alpha ${alpha} (it is defined for softmax, alpha 1, alone)`,
      labelSmoothing,
    );
  }
  return Object.freeze(loss);
}
