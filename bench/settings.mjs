// The problems of the benchmarks. B, C, D are batch, identities, width.
import { arcFace, cosFace, entmaxHead, qMargin, sgd } from '../dist/index.js';

const LOSSES = {
  'q-margin': qMargin,
  cosface: cosFace,
  arcface: arcFace,
  entmax: entmaxHead,
};

export const LOSS_NAMES = Object.keys(LOSSES);

/** The loss of a setting. */
export function lossOf({ loss, alpha, scale, margin }) {
  return LOSSES[loss](
    loss === 'entmax' ? { alpha, scale } : { alpha, scale, margin },
  );
}

/** The update rule of all steps that are measured, ours and the peers'. */
export function optimizerOf() {
  return sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 5e-4 });
}

const face = { loss: 'q-margin', alpha: 1.25, scale: 32, margin: 0.2 };
const faces = (batch, identities, more) => ({
  batch,
  identities,
  dim: 512,
  ...face,
  prototypes: 'random',
  ...more,
});
const trained = { prototypes: 'trained-like' };
const softmax = { loss: 'cosface', alpha: 1, scale: 64, margin: 0.35 };
const speaker = {
  batch: 128,
  identities: 5994,
  dim: 256,
  loss: 'q-margin',
  alpha: 1.5,
  scale: 10,
  margin: 0.2,
  prototypes: 'random',
};

/**
 * Published settings (docs/losses.md) at sizes that people train. `alone`: too large to keep a peer
 * in memory at the same time, so the two are measured one after the other.
 */
export const SETTINGS = {
  'face-100k': faces(128, 100_000),
  'face-100k-trained': faces(128, 100_000, trained),
  speaker,
  'speaker-trained': { ...speaker, ...trained },
  'face-1m-b16': faces(16, 1_000_000),
  'face-1m-b16-trained': faces(16, 1_000_000, trained),
  'face-1m': faces(128, 1_000_000),
  'face-1m-trained': faces(128, 1_000_000, trained),
  'cosface-100k': faces(128, 100_000, softmax),
  'face-4m': faces(128, 4_000_000, { dim: 256, alone: true }),
};

/** Small enough for a look while working; figures to publish come from the others. */
export const QUICK_SETTINGS = {
  'face-20k': faces(128, 20_000),
  'face-20k-trained': faces(128, 20_000, trained),
  'face-20k-b16': faces(16, 20_000),
  speaker,
  'cosface-5k': faces(128, 5000, softmax),
};

const gallery = (batch, more) => faces(batch, 1_000_000, { k: 10, ...more });

/** Identification: the k nearest of a gallery. */
export const NEAREST_SETTINGS = {
  'gallery-1m-b64': gallery(64),
  'gallery-1m-b64-trained': gallery(64, trained),
  'gallery-1m-b1': gallery(1),
  'gallery-1m-b1-trained': gallery(1, trained),
};

export const QUICK_NEAREST_SETTINGS = {
  'gallery-50k-b64': gallery(64, { identities: 50_000 }),
  'gallery-50k-b1': gallery(1, { identities: 50_000 }),
};

const GPU_BATCHES = [128, 256, 1024, 4096];
const GPU_WIDTHS = [192, 256, 512];
const GPU_IDENTITIES = [
  ['100k', 100_000],
  ['1m', 1_000_000],
  ['10m', 10_000_000],
];

/** On a GPU: all sizes, random and trained-like; softmax at some of them. */
export const GPU_SETTINGS = Object.fromEntries(
  GPU_IDENTITIES.flatMap(([name, identities]) =>
    GPU_WIDTHS.flatMap((dim) =>
      GPU_BATCHES.flatMap((batch) => {
        const sized = (more) => faces(batch, identities, { dim, ...more });
        const label = `gpu-${name}-d${dim}-b${batch}`;
        return [
          [label, sized()],
          [`${label}-trained`, sized(trained)],
          ...(dim === 512 ? [[`${label}-cosface`, sized(softmax)]] : []),
        ];
      }),
    ),
  ),
);

/** Tiny: they fit the emulated device, which shows that the benchmark works and no speed. */
export const QUICK_GPU_SETTINGS = {
  'gpu-300-d33-b19': faces(19, 300, { dim: 33 }),
  'gpu-300-d33-b19-cosface': faces(19, 300, { dim: 33, ...softmax }),
};
