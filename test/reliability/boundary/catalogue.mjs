// How to call every public function and method: good arguments, which the suite then makes hostile.
// A key is an export, 'Class.method' (also static), 'Class.accessor=' or 'new Class'. `weight` says how
// often a call is drawn (default 20); what takes long is drawn seldom.
import * as api from 'alphamargin';
import {
  B,
  both,
  C,
  call,
  D,
  dataset,
  headOptions,
  labels,
  losses,
  lossFunction,
  method,
  named,
  optimizers,
  path,
  plan,
  plotOptions,
  posteriorOptions,
  real,
  rowsLike,
  safetensorsContent,
  scores,
  specification,
  withoutMargin,
} from './good-arguments.mjs';

export const CATALOGUE = {
  ...both(
    'entmax',
    (g) => [real(g, B, 5), call(g, posteriorOptions(g))],
    (g) => [real(g, B, 5), posteriorOptions(g)],
  ),
  ...both(
    'sparseEntmax',
    (g) => [real(g, B, 5), call(g, posteriorOptions(g))],
    (g) => [real(g, B, 5), posteriorOptions(g)],
  ),
  ...both(
    'entmaxBackward',
    (g) => [real(g, B, 5), real(g, B, 5, 0.2), call(g, posteriorOptions(g))],
    (g) => [real(g, B, 5), real(g, B, 5, 0.2), posteriorOptions(g)],
  ),
  ...lossFunction('qMarginLoss'),
  ...lossFunction('a3mLoss'),
  ...lossFunction('cosFaceLoss'),
  ...lossFunction('arcFaceLoss'),
  ...lossFunction('entmaxLoss', withoutMargin),

  qMargin: specification({
    alpha: 1.25,
    scale: 8,
    margin: 0.2,
    interTopK: { k: 2, penalty: 0.1 },
  }),
  a3m: specification({
    alpha: 1.25,
    scale: 8,
    margin: 0.2,
    detachMargin: true,
  }),
  cosFace: specification({
    alpha: 1,
    scale: 8,
    margin: 0.2,
    labelSmoothing: 0.1,
  }),
  arcFace: specification({ alpha: 1, scale: 8, margin: 0.2 }),
  entmaxHead: specification({ alpha: 1.25, scale: 8 }),
  combinedMargin: specification({ alpha: 1, scale: 8, m1: 1, m2: 0.1, m3: 0 }),
  sgd: specification({ learningRate: 0.1, momentum: 0.9, weightDecay: 0 }),
  adagrad: specification({
    learningRate: 0.1,
    epsilon: 1e-10,
    initialAccumulator: 0,
  }),
  linearDecay: { make: () => [], weight: 1 },
  cosineDecay: { make: () => [], weight: 1 },
  polynomialDecay: specification({ power: 2 }),
  exponentialDecay: specification({ ratio: 0.01 }),
  stepDecay: specification({ epochs: [1, 2], factor: 0.1 }),
  warmup: specification({ epochs: 1 }),
  marginRamp: specification({ start: 1, end: 3 }),
  referenceFromCounts: {
    make: () => [Int32Array.of(3, 1, 0, 4), { alpha: 1.25, exponent: 1 }],
    weight: 6,
  },
  tensor: { make: (g) => [g.floats(6), [2, 3]] },
  backendInfo: { make: () => [], weight: 1 },
  memory: { make: () => [], weight: 1 },
  setThreadCount: {
    make: (g) => [g.pick([1, 2, 3])],
    weight: 1,
    after: () => api.setThreadCount(1),
  },

  'new PrototypeHead': { make: (g) => [headOptions(g)], weight: 60 },
  ...method(
    'step',
    (g) => [
      real(g, B, D),
      labels(g, B, C),
      call(
        g,
        g.pick([
          {},
          { margins: new Float32Array(B).fill(0.1) },
          { margins: Array(B).fill(0.1) },
        ]),
      ),
    ],
    60,
  ),
  ...method('stepSync', (g) => [real(g, B, D), labels(g, B, C)], 60),
  ...method('evaluate', (g) => [real(g, B, D), labels(g, B, C), call(g)]),
  ...method('evaluateSync', (g) => [real(g, B, D), labels(g, B, C)]),
  ...method('forward', (g) => [real(g, B, D), labels(g, B, C), call(g)]),
  ...method('forwardSync', (g) => [real(g, B, D), labels(g, B, C)]),
  ...method('posterior', (g) => [real(g, B, D), labels(g, B, C), call(g)]),
  ...method('posteriorSync', (g) => [real(g, B, D), labels(g, B, C)]),
  ...method('nearest', (g) => [real(g, B, D), call(g, { k: 2 })], 40),
  ...method('nearestSync', (g) => [real(g, B, D), { k: 2 }], 40),
  ...method('reinitialize', (g) => [
    [
      { embeddings: real(g, B, D), labels: labels(g, B, C) },
      { embeddings: real(g, B, D), labels: labels(g, B, C) },
    ],
    call(g, { identities: Int32Array.of(0, 1, 2) }),
  ]),
  ...method('prototypes', () => [Int32Array.of(0, 1)]),
  ...method('setPrototypes', (g) => [
    { data: g.floats(2 * D), dims: [2, D] },
    Int32Array.of(3, 4),
  ]),
  ...method('memory', () => [], 1),
  ...method(
    'save',
    (g) => [
      g.output('.safetensors'),
      {
        extra: {
          metadata: { note: 'mine' },
          tensors: safetensorsContent(g).tensors,
        },
      },
    ],
    1,
  ),
  ...method('dispose', () => [], 1),
  ...method('@@dispose', () => [], 1),
  ...method('@@util.inspect.custom', () => [], 1),
  ...method('loss=', (g) => [{ ...losses(g) }]),
  ...method('learningRate=', () => [0.1]),
  ...method('optimizer=', (g) => [{ ...optimizers(g) }]),
  ...method('device', () => [], 1),
  ...method('identities', () => [], 1),
  ...method('subCentres', () => [], 1),
  ...method('dim', () => [], 1),
  ...method('loss', () => [], 1),
  ...method('learningRate', () => [], 1),
  ...method('optimizer', () => [], 1),
  'PrototypeHead.load': {
    weight: 4,
    make: (g) => [g.files.head, { device: g.device(), shadow: 'auto' }],
  },

  'new DeviceTensor': { make: () => [], weight: 0, isInternal: true },
  'DeviceTensor.make': { make: () => [], weight: 0, isInternal: true },
  'DeviceTensor.isOne': { make: () => [], weight: 0, isInternal: true },
  'DeviceTensor.arrayFor': { make: () => [], weight: 0, isInternal: true },
  'DeviceTensor.upload': {
    make: (g) => [
      { data: g.floats(6), dims: [2, 3] },
      call(g, { device: 'cuda-emulated' }),
    ],
  },
  'DeviceTensor.uploadSync': {
    make: (g) => [
      { data: g.floats(6), dims: [2, 3] },
      { device: 'cuda-emulated' },
    ],
  },
  ...Object.fromEntries(
    [
      ['getData', (g) => [call(g)]],
      ['getDataSync', () => []],
      ['toTensor', (g) => [call(g)]],
      ['dispose', () => []],
      ['@@dispose', () => []],
      ['disposed', () => []],
    ].map(([name, make]) => [
      `DeviceTensor.${name}`,
      {
        make,
        weight: 5,
        on: (g) =>
          api.DeviceTensor.uploadSync(
            { data: g.floats(6), dims: [2, 3] },
            { device: 'cuda-emulated' },
          ),
      },
    ]),
  ),

  trialScoresFrom: { make: (g) => [g.floats(5), g.floats(5)] },
  trialScoresFromList: {
    make: (g) => [g.floats(3), { genuine: Uint8Array.of(1, 0, 1) }],
  },
  roc: { make: (g) => [{ ...scores(g) }] },
  eer: { make: (g) => [{ ...scores(g) }] },
  minDcf: { make: (g) => [{ ...scores(g) }, { pTarget: 0.05, costMiss: 1 }] },
  tarAtFar: { make: (g) => [{ ...scores(g) }, [0.1, 0.5]] },
  summarize: { make: (g) => [{ ...scores(g) }] },
  parseTrials: {
    make: (g) => [g.pick(['1 a b\n0 a c\n', 'a b target\na c nontarget\n'])],
  },
  trialCosines: {
    make: (g) => [
      { data: g.floats(8), dims: [4, 2] },
      { trials: { ...api.parseTrials('1 0 1\n0 1 2\n') } },
      call(g),
    ],
  },
  normalizeScores: {
    make: (g) => [
      call(g, {
        scores: g.floats(2),
        trials: { ...api.parseTrials('1 a b\n0 b c\n') },
        names: ['a', 'b', 'c', 'd'],
        embeddings: { data: g.floats(8), dims: [4, 2] },
        cohort: { data: g.floats(12), dims: [6, 2] },
        top: g.pick([2, 4, 300]),
      }),
    ],
  },
  scoreTrials: {
    make: (g) => {
      const source = g.pick([
        () => ({ labels: Int32Array.of(0, 0, 1, 1) }),
        () => ({ trials: { ...api.parseTrials('1 0 1\n0 1 2\n') } }),
        () => ({
          trials: { ...api.parseTrials('1 a b\n0 b c\n') },
          names: ['a', 'b', 'c', 'd'],
        }),
      ])();
      const data = Float32Array.from({ length: 8 }, () => 0.1 + g.next());
      return [
        { data, dims: [4, 2] },
        source,
        call(g, { exactPairs: g.pick([0, 100]) }),
      ];
    },
  },
  // Plots start a compiler of their own; one takes tens of milliseconds.
  detPlot: { make: (g) => [named(g), plotOptions()], weight: 0.2 },
  rocPlot: { make: (g) => [named(g), plotOptions()], weight: 0.2 },
  verificationReport: {
    weight: 0.1,
    make: (g) => [
      {
        title: 't',
        notes: ['n'],
        systems: [
          {
            ...named(g)[0],
            training: [{ epoch: 1, loss: 1, supportSize: 2 }],
          },
        ],
        details: { a: '1' },
      },
    ],
  },

  readTrials: path('trials'),
  readTemplatePairs: path('pairs'),
  readTemplates: path('templates'),
  readUtt2spk: path('utt2spk'),
  readSpk2utt: path('spk2utt'),
  readScp: path('scp'),
  readArk: path('ark'),
  readNpy: path('npy'),
  embeddingsFromNpy: path('npy'),
  labelsFromNpy: path('labels'),
  openSafetensors: path('safetensors'),
  openEmbeddings: {
    weight: 6,
    make: (g) => [
      g.pick([g.files.npy, [g.files.npy, g.files.npy], g.files.safetensors]),
      g.chance(0.5) ? {} : { tensor: 'x' },
    ],
  },
  speakerLabels: {
    make: () => [
      ['u1', 'u2'],
      new Map([
        ['u1', 'a'],
        ['u2', 'b'],
      ]),
    ],
  },
  sequential: { make: () => [{ rows: 9, batch: 4 }] },
  shuffled: {
    make: () => [{ rows: 9, batch: 4, seed: 1, blockRows: 2, bufferRows: 4 }],
  },
  classBalanced: {
    make: () => [
      { labels: Int32Array.of(0, 1, 1, -1, 2), batch: 2, seed: 1, power: 0.5 },
    ],
  },
  identitySamples: {
    make: () => [
      { labels: Int32Array.of(0, 1, 1, 2), identities: 2, samples: 2, seed: 1 },
    ],
  },
  embeddingBatches: {
    make: (g) => [rowsLike(g), new Int32Array(6), plan(g), { epochs: 1 }],
  },
  templateEmbeddings: {
    make: (g) => [
      rowsLike(g),
      {
        names: ['a', 'b'],
        subjects: undefined,
        images: ['1', '2', '3', '4', '5', '6'],
        template: Int32Array.of(0, 0, 0, 1, 1, 1),
        media: Int32Array.of(0, 0, 1, 2, 3, 3),
      },
    ],
  },
  'new EmbeddingDataset': { make: () => [], weight: 0, isInternal: true },
  'EmbeddingDataset.placeOf': { make: () => [], weight: 0, isInternal: true },
  'EmbeddingDataset.readRows': {
    weight: 6,
    on: dataset,
    make: () => [1, new Float32Array(6)],
  },
  'EmbeddingDataset.gather': {
    weight: 6,
    on: dataset,
    make: () => [Int32Array.of(2, 0), new Float32Array(6)],
  },
  'EmbeddingDataset.close': { weight: 1, on: dataset, make: () => [] },
  'EmbeddingDataset.@@asyncDispose': { weight: 1, on: dataset, make: () => [] },
  'new SafetensorsFile': { make: () => [], weight: 0, isInternal: true },
  ...Object.fromEntries(
    [
      ['tensor', () => ['x']],
      ['readRows', () => ['x', 1, new Float32Array(6)]],
      ['rows', () => ['x', { rowsPerChunk: 2 }]],
      ['close', () => []],
      ['@@asyncDispose', () => []],
    ].map(([name, make]) => [
      `SafetensorsFile.${name}`,
      { weight: 4, on: (g) => api.openSafetensors(g.files.safetensors), make },
    ]),
  ),
  writeFileAtomically: {
    weight: 1,
    make: (g) => [g.output('.txt'), (handle) => handle.writeFile('x')],
  },
  writeTextAtomically: {
    weight: 1,
    make: (g) => [g.output('.txt'), 'text'],
  },
  writeNpy: {
    weight: 1,
    make: (g) => [
      g.output('.npy'),
      { type: 'float32', data: g.floats(6), dims: [2, 3] },
    ],
  },
  writeSafetensors: {
    weight: 2,
    make: (g) => [g.output('.safetensors'), safetensorsContent(g)],
  },
  'new AlphaMarginError': {
    weight: 0,
    make: () => ['ERR_DEVICE', 'message', {}],
    isInternal: true,
  },
};
