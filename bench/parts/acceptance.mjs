// The part `acceptance`: what the kernels promise, each promise with what was measured for it.
import { measureAgreement } from '../agreement.mjs';
import { asInstalled, head, sgemm, torchStep } from '../contenders.mjs';
import { NEAREST_SETTINGS, SETTINGS } from '../settings.mjs';
import {
  count,
  markdownTable,
  megabytes,
  NOTHING,
  percent,
  ratio,
  sizes,
} from '../table.mjs';
import { nearestContenders, PEERS } from './nearest.mjs';
import { asCosFace } from './peers.mjs';
import { gemmRate } from './steps.mjs';

/** A promise about a time over another time. */
function atMost(target, name, baseline, what) {
  return (result) => {
    const pairs = ratio(result, name, baseline);
    return {
      what,
      target: `≤ ${target} × ${baseline}`,
      measured: pairs && `${pairs.median.toFixed(2)} ×`,
      spread: pairs && spreadOf(pairs),
      met: pairs && pairs.median <= target,
    };
  };
}

function fasterThan(target, name, baseline, what, label) {
  return (result) => {
    const pairs = ratio(result, baseline, name);
    return {
      what,
      target: `≥ ${target} × faster than ${label}`,
      measured: pairs && `${pairs.median.toFixed(1)} ×`,
      spread: pairs && spreadOf(pairs),
      met: pairs && pairs.median >= target,
    };
  };
}

const spreadOf = ({ min, max, samples }) =>
  `${min.toPrecision(3)} – ${max.toPrecision(3)}, ${samples} samples`;

const forward = atMost(0.6, 'forward', 'sgemm', 'forward');
const step = (target) => atMost(target, 'step', 'sgemm', 'whole step');
// Short enough that waking the threads that a promise needs shows.
const stepSync = (target) =>
  atMost(target, 'stepSync', 'sgemm', 'whole step, stepSync');

const torch = [
  ['torchCosFace', 'the dense PyTorch step (CosFace)'],
  ['torchAsInstalled', 'that as installed, untuned'],
].map(([peer, label]) => fasterThan(15, 'step', peer, 'whole step', label));

const nearest = PEERS.map(([peer, label]) =>
  fasterThan(1.5, 'nearest', peer, 'nearest, k = 10', label),
);

/** A promise about a figure of a contender that was measured. */
function figure(contender, what, describe) {
  return (result) => {
    const found = result.contenders[contender];
    return { what, ...describe(found?.time && found, result) };
  };
}

const memory = [
  figure('step', 'peak beyond state', (found) => ({
    target: '≤ 2 % of B × C float32 + 64 MB',
    measured: found && `${megabytes(found.peakBeyondStateBytes)} MB`,
    spread: found && `limit ${megabytes(found.limitBytes)} MB`,
    met: found && found.peakBeyondStateBytes <= found.limitBytes,
  })),
  // Prototype and momentum in float32, a copy of at most half that for the filter, norms.
  figure('step', 'memory per identity', (found, { setting }) => ({
    target: `≤ 10·D + 64 = ${count(10 * setting.dim + 64)} bytes`,
    measured: found && `${count(found.bytesPerIdentity)} bytes`,
    spread: found && `process ${count(found.peakBytes / 1e6)} MB`,
    met: found && found.bytesPerIdentity <= 10 * setting.dim + 64,
  })),
];

function softmaxRate(result) {
  const share = gemmRate(result);
  return {
    what: 'softmax step, three products',
    target: '≥ 60 % of the GEMM rate',
    measured: share && percent(share),
    met: share && share >= 0.6,
  };
}

const agreement = [
  ({ agreement: found }) => ({
    what: 'same bits',
    target: found && `for ${found.threads.join(', ')} threads`,
    measured: found && (found.sameBits ? 'same' : 'different'),
    met: found?.sameBits,
  }),
  ({ agreement: found }) => {
    const sets = found?.instructionSets ?? [];
    const loss = Math.max(0, ...sets.map((set) => set.lossDifference));
    const gradient = Math.max(0, ...sets.map((set) => set.gradientDifference));
    return {
      what: 'every instruction set as portable',
      target: 'losses ≤ 2e-6·(1 + ℓ), ∂x ≤ 1e-5',
      measured:
        found && `${loss.toExponential(1)}, ${gradient.toExponential(1)}`,
      spread: sets.map((set) => set.instructionSet).join(', '),
      met: found && loss <= 2e-6 && gradient <= 1e-5,
    };
  },
];

/** A row for the same setting with each kind of prototypes. */
function bothKinds(name, promises, more) {
  return [name, `${name}-trained`].map((each) => ({
    name: each,
    setting: SETTINGS[each],
    promises,
    ...more,
  }));
}

const COMPARISONS = [
  ...bothKinds('face-100k', [forward, step(1), ...torch], { torch: true }),
  ...bothKinds('speaker', [stepSync(1.2), step(1.2)], { sync: true }),
  ...bothKinds('face-1m-b16', [step(0.5)]),
  {
    name: 'cosface-100k',
    setting: SETTINGS['cosface-100k'],
    promises: [softmaxRate],
  },
  { name: 'face-4m', setting: SETTINGS['face-4m'], promises: memory },
  ...['gallery-1m-b64', 'gallery-1m-b64-trained'].map((name) => ({
    name,
    setting: NEAREST_SETTINGS[name],
    promises: nearest,
  })),
  ...['face-100k-trained', 'speaker-trained'].map((name) => ({
    name: `agreement-${name}`,
    // The portable kernels take part: no larger than it has to be.
    setting: { ...SETTINGS[name], identities: 5994 },
    promises: agreement,
    measure: measureAgreement,
  })),
];

/** The same with a hundredth of the identities: for trying the program, not the promises. */
function quickly({ setting, ...comparison }) {
  const identities = Math.min(
    setting.identities,
    2000 + Math.ceil(setting.identities / 100),
  );
  return { ...comparison, setting: { ...setting, identities } };
}

export const acceptancePart = {
  name: 'acceptance',
  about: 'what the kernels promise, and whether it is met',
  comparisons: ({ quick }) => (quick ? COMPARISONS.map(quickly) : COMPARISONS),
  seconds: 4,
  contenders({ setting, torch: withTorch, sync }, threads) {
    if (setting.k !== undefined) return nearestContenders(setting, threads);
    return {
      step: head('step', setting, threads),
      ...(sync && { stepSync: head('stepSync', setting, threads) }),
      forward: head('forward', setting, threads),
      sgemm: sgemm(setting, threads),
      ...(withTorch && {
        torchCosFace: torchStep(asCosFace(setting), threads),
        torchAsInstalled: asInstalled(torchStep(asCosFace(setting), threads)),
      }),
    };
  },
  table(results) {
    const rows = results.flatMap((result) => {
      const { promises } = COMPARISONS.find(({ name }) => name === result.name);
      return promises.map((promise) => ({ ...promise(result), result }));
    });
    const met = ({ met: isMet }) =>
      isMet === undefined ? 'not measured' : isMet ? 'yes' : '**no**';
    return markdownTable(
      [
        ['setting', ({ result }) => result.name],
        ['B × C × D', ({ result }) => sizes(result.setting)],
        ['what', ({ what }) => what],
        ['target', ({ target }) => target ?? NOTHING],
        ['measured', ({ measured }) => measured ?? NOTHING],
        ['min – max', ({ spread }) => spread || NOTHING],
        ['met', met],
      ],
      rows,
      4,
    );
  },
};
