import { describe, it } from 'vitest';
import {
  detPlot,
  minDcf,
  normalizeScores,
  parseTrials,
  rocPlot,
  scoreTrials,
  trialCosines,
  trialScoresFrom,
  verificationReport,
} from '../../lib/verification/index.js';
import { expectFailure } from '../helpers/failures.js';

const scores = trialScoresFrom(
  Float32Array.of(0.9, 0.7),
  Float32Array.of(0.5, 0.1),
);
const embeddings = {
  data: Float32Array.of(1, 0, 0.8, 0.6, 0, 1),
  dims: [3, 2],
};
const labels = Int32Array.of(0, 0, 1);
const trials = parseTrials('1 0 1\n0 0 2\n');
const title = 'A report';
const systems = [{ name: 'ours', scores }];
const cohort = { data: Float32Array.of(0.6, 0.8, -1, 0), dims: [2, 2] };
const listed = { scores: Float32Array.of(1, 0), trials, embeddings, cohort };

/** An object that a function takes: how to hand it over, and what must be in it. */
interface Place {
  readonly name: string;
  /** What messages call the object. */
  readonly argument: string;
  readonly call: (given: never) => unknown;
  readonly good: object;
  readonly known: string;
  /** Whether nothing at all will do. */
  readonly optional?: boolean;
}

const plot = 'title, width, height, theme, legend';
const places: readonly Place[] = [
  {
    name: 'minDcf',
    argument: 'options',
    call: (given) => minDcf(scores, given),
    good: { pTarget: 0.5 },
    known: 'pTarget, costMiss, costFalseAccept',
    optional: true,
  },
  {
    name: 'scoreTrials',
    argument: 'source',
    call: (given) => scoreTrials(embeddings, given),
    good: { labels },
    known: 'labels, trials, names',
  },
  {
    name: 'scoreTrials',
    argument: 'trials',
    call: (given) => scoreTrials(embeddings, { trials: given }),
    good: trials,
    known: 'genuine, enrolment, test, names',
  },
  {
    name: 'scoreTrials',
    argument: 'options',
    call: (given) => scoreTrials(embeddings, { labels }, given),
    good: { exactPairs: 1 },
    known: 'exactPairs, signal',
    optional: true,
  },
  {
    name: 'trialCosines',
    argument: 'source',
    call: (given) => trialCosines(embeddings, given),
    good: { trials },
    known: 'trials, names',
  },
  {
    name: 'trialCosines',
    argument: 'trials',
    call: (given) => trialCosines(embeddings, { trials: given }),
    good: trials,
    known: 'genuine, enrolment, test, names',
  },
  {
    name: 'trialCosines',
    argument: 'options',
    call: (given) => trialCosines(embeddings, { trials }, given),
    good: {},
    known: 'signal',
    optional: true,
  },
  {
    name: 'normalizeScores',
    argument: 'options',
    call: (given) => normalizeScores(given),
    good: listed,
    known: 'scores, trials, names, embeddings, cohort, top, signal',
  },
  {
    name: 'normalizeScores',
    argument: 'trials',
    call: (given) => normalizeScores({ ...listed, trials: given }),
    good: trials,
    known: 'genuine, enrolment, test, names',
  },
  ...[detPlot, rocPlot].flatMap((draw): Place[] => [
    {
      name: draw.name,
      argument: 'options',
      call: (given) => draw(scores, given),
      good: { title },
      known: plot,
      optional: true,
    },
    {
      name: draw.name,
      argument: 'systems[0]',
      call: (given) => draw([given]),
      good: systems[0]!,
      known: 'name, scores, training',
    },
  ]),
  {
    name: 'verificationReport',
    argument: 'options',
    call: (given) => verificationReport(given),
    good: { title, systems },
    known: 'title, systems, notes, details',
  },
  {
    name: 'verificationReport',
    argument: 'systems[1]',
    call: (given) =>
      verificationReport({
        title,
        systems: [{ name: 'other', scores }, given],
      }),
    good: systems[0]!,
    known: 'name, scores, training',
  },
];

describe.each(places)('$name: $argument', (place) => {
  const { name, argument, call, good, known, optional = false } = place;
  const refuses = async (given: unknown, message: string) => {
    const text = `${name}: expected ${argument} to be ${message}`;
    const escaped = text.replaceAll(/[[\](){}.]/g, '\\$&');
    await expectFailure(
      [
        name,
        () => call(given as never),
        'ERR_INVALID_ARGUMENT',
        new RegExp(`^${escaped}$`),
      ],
      'option-names.test.ts',
    );
  };

  it('takes the names it knows', async () => {
    await call(good as never);
    if (optional) await call(undefined as never);
  });

  it('refuses names it does not know', async () => {
    const given = { ...good, p_target: 0.5 };
    await refuses(given, `made of ${known} but received 'p_target'`);
  });

  it('refuses what is not an object', async () => {
    await refuses(null, 'an object but received null');
    await refuses(0.05, 'an object but received 0.05');
    await refuses('0.05', "an object but received '0.05'");
    await refuses([0.05], 'an object but received [0.05]');
  });
});

it('scoreTrials: labels need no names', async () => {
  const source = { labels, names: ['a', 'b', 'c'] };
  await expectFailure(
    [
      'names',
      () => scoreTrials(embeddings, source),
      'ERR_INVALID_ARGUMENT',
      /^scoreTrials: expected names to be left out \(labels .*\) but received \['a', 'b', 'c'\]$/,
    ],
    'option-names.test.ts',
  );
});

it.each([5, 'seed 0', null, ['seed']])(
  'verificationReport: details cannot be %j',
  async (details) => {
    await expectFailure(
      [
        'details',
        () => verificationReport({ title, systems, details: details as never }),
        'ERR_INVALID_ARGUMENT',
        /^verificationReport: expected details to be an object of strings and numbers but/,
      ],
      'option-names.test.ts',
    );
  },
);
