import { describe, expect, it } from 'vitest';
import {
  type A3mOptions,
  a3m,
  a3mLossSync,
  arcFace,
  combinedMargin,
  cosFace,
  entmaxHead,
  type LossSpecification,
  openSafetensors,
  PrototypeHead,
  qMargin,
  sgd,
  tensor,
  writeSafetensors,
} from '../lib/index.js';
import { type BadCall, expectFailure } from './helpers/failures.js';
import { familyNames, lossFamilies } from './helpers/losses.js';
import { useTemporaryDirectory } from './io/temporary-directory.js';

const file = useTemporaryDirectory();
const testFile = 'loss-specification.test.ts';
const invalid = 'ERR_INVALID_ARGUMENT';

const newHead = (loss: LossSpecification) =>
  new PrototypeHead({ identities: 3, dim: 2, loss, optimizer: sgd() });

describe.each(familyNames)('%s made by hand', (family) => {
  const made = {
    ...lossFamilies[family](1, 8),
    interTopK: 2,
    interTopKPenalty: 0.1,
  };

  it('is taken as it is, frozen, and kept by a checkpoint', async () => {
    using head = newHead(made);
    head.loss = { ...made };
    expect(head.loss).toEqual(made);
    expect(Object.isFrozen(head.loss)).toBe(true);
    await head.save(file('kept'));
    using loaded = await PrototypeHead.load(file('kept'));
    expect(loaded.loss).toEqual(made);
  });

  it.each(Object.keys(made))('is refused without %s', async (field) => {
    const { [field]: _, ...rest } = made as Record<string, unknown>;
    using head = newHead(made);
    const set = () => {
      head.loss = rest as unknown as LossSpecification;
    };
    await expectFailure([field, set, invalid, /PrototypeHead\.loss/], testFile);
    expect(head.loss).toEqual(made);
  });
});

/** A specification that is none, and what is said of it. */
const refused: [string, object, RegExp][] = [
  ['an unknown name', { ...qMargin(), name: 'foo' }, /loss\.name .*'foo'/],
  ['an inherited name', { ...qMargin(), name: 'toString' }, /loss\.name/],
  ['a name that is no string', { ...qMargin(), name: 1 }, /loss\.name .* 1$/],
  [
    'a name that is not its own',
    Object.create(qMargin()),
    /loss\.name .*undefined/,
  ],
  [
    'an unknown key',
    { ...qMargin(), margin: 0.3 },
    /loss to be made of name, alpha, .*interTopKPenalty but received 'margin'/,
  ],
  [
    'the fields of another loss',
    { ...qMargin(), name: 'arcface' },
    /loss\.measureMargin to be 0 for 'arcface', which has none but received 0\.2/,
  ],
  [
    'EntMax with a margin',
    { ...entmaxHead(), cosineMargin: 0.1 },
    /loss\.cosineMargin to be 0 for 'entmax'/,
  ],
  [
    'CosFace that detaches',
    { ...cosFace(), detachMargin: true },
    /loss\.detachMargin to be false for 'cosface'/,
  ],
  [
    'a factor of the angle for ArcFace',
    { ...arcFace(), angleFactor: 2 },
    /loss\.angleFactor to be 1 for 'arcface'/,
  ],
  [
    'smoothing for A3M',
    { ...a3m({ alpha: 1 }), labelSmoothing: 0.1 },
    /loss\.labelSmoothing to be 0 for 'a3m'/,
  ],
  [
    'smoothing of a sparse posterior',
    { ...cosFace({ alpha: 1.5 }), labelSmoothing: 0.1 },
    /loss\.labelSmoothing to be 0 for alpha 1\.5/,
  ],
  ['α below 1', { ...qMargin(), alpha: 0.5 }, /loss\.alpha .* 0\.5$/],
  ['a scale of 0', { ...qMargin(), scale: 0 }, /loss\.scale .* > 0 .* 0$/],
  ['a NaN margin', { ...cosFace(), cosineMargin: NaN }, /cosineMargin .*NaN/],
  ['an angle beyond π', { ...a3m(), angularMargin: 4 }, /angularMargin .*π/],
  ['a margin as text', { ...qMargin(), measureMargin: '1' }, /Margin .*'1'$/],
  ['half a class', { ...a3m(), interTopK: 0.5 }, /loss\.interTopK .* 0\.5$/],
  ['a penalty of 3', { ...a3m(), interTopKPenalty: 3 }, /Penalty .* 3$/],
  ['a word to detach', { ...a3m(), detachMargin: 'no' }, /true or .* 'no'$/],
  [
    'a loss that would overflow',
    { ...qMargin(), measureMargin: 100 },
    /\(loss\.alpha - 1\) \* loss\.scale \* loss\.measureMargin to be at most 80/,
  ],
  ['nothing', null as unknown as object, /loss to be a loss specification/],
];

describe.each(refused)('%s is refused', (what, loss, message) => {
  const given = loss as LossSpecification;

  it('by the constructor', () =>
    expectFailure([what, () => newHead(given), invalid, message], testFile));

  it('by the setter, which changes nothing', async () => {
    using head = newHead(qMargin());
    const set = () => {
      head.loss = given;
    };
    await expectFailure([what, set, invalid, message], testFile);
    expect(head.loss).toEqual(qMargin());
  });
});

describe('a checkpoint', () => {
  /** The file with its loss changed, and without checksums, as old files have none. */
  async function withLoss(change: (loss: Record<string, unknown>) => object) {
    using head = newHead(cosFace());
    await head.save(file('new'));
    await using opened = await openSafetensors(file('new'));
    const { format, settings } = opened.metadata;
    const read = JSON.parse(settings!);
    const changed = { ...read, loss: change(read.loss) };
    const tensors = [...opened.tensors.values()].map((entry) => ({
      ...entry,
      chunks: (async function* () {
        for await (const { bytes } of opened.rows(entry.name)) yield bytes;
      })(),
    }));
    const metadata = { format: format!, settings: JSON.stringify(changed) };
    await writeSafetensors(file('changed'), { metadata, tensors });
    return file('changed');
  }

  it.each([
    ['inter-top-K', ['interTopK', 'interTopKPenalty']],
    ['smoothing', ['labelSmoothing', 'interTopK', 'interTopKPenalty']],
  ])('of a version before %s is loaded', async (_, later) => {
    const path = await withLoss((loss) =>
      Object.fromEntries(
        Object.entries(loss).filter(([field]) => !later.includes(field)),
      ),
    );
    using head = await PrototypeHead.load(path);
    expect(head.loss).toEqual(cosFace());
    const embeddings = tensor(Float32Array.of(1, 0), [1, 2]);
    head.stepSync(embeddings, [0], { margins: Float32Array.of(0.1) });
  });

  it.each([
    ['an unknown name', { name: 'foo' }, /loss\.name .*'foo'/],
    ['an unknown key', { margin: 0.3 }, /loss to be made of .*'margin'/],
    ['the margin of another loss', { measureMargin: 0.1 }, /measureMargin/],
    ['a null', { scale: null }, /loss\.scale .*null/],
  ])('with %s is refused', async (_, change, message) => {
    const path = await withLoss((loss) => ({ ...loss, ...change }));
    const failure = await PrototypeHead.load(path).catch((error) => error);
    expect(failure).toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
    expect(failure.message).toContain(`${path}: damaged settings: `);
  });
});

describe('the functions that make losses refuse', () => {
  const cosines = tensor(Float32Array.of(0.5, 0.1), [1, 2]);
  const flags = ['no', 1, 0, null].flatMap((value): BadCall[] => {
    const options = { detachMargin: value } as unknown as A3mOptions;
    const calls = {
      a3m: () => a3m(options),
      arcFace: () => arcFace(options),
      combinedMargin: () => combinedMargin(options),
      'a3m of a loss on cosines': () => a3mLossSync(cosines, [0], options),
    };
    return Object.entries(calls).map(([name, call]) => [
      `${name}: detachMargin ${JSON.stringify(value)}`,
      call,
      invalid,
      /^(a3m|arcFace|combinedMargin): expected detachMargin to be true or false/,
    ]);
  });
  const others: BadCall[] = [
    [
      'combinedMargin: m2 by its name',
      () => combinedMargin({ m2: 4 }),
      invalid,
      /combinedMargin: expected m2 \(radians\) to be a number in \[0, π\]/,
    ],
    [
      'combinedMargin: m3 by its name',
      () => combinedMargin({ m3: -1 }),
      invalid,
      /combinedMargin: expected m3 to be a finite number >= 0/,
    ],
    [
      'qMargin: a margin of null',
      () => qMargin({ margin: null as unknown as number }),
      invalid,
      /qMargin: expected margin to be .* null/,
    ],
  ];
  it.each([...flags, ...others])('%s', (...bad) =>
    expectFailure(bad, testFile),
  );
});
