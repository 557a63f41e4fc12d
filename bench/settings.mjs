// The problems of the head benchmark. B, C, D are batch, identities, width.

const face = { loss: 'q-margin', alpha: 1.25, scale: 32, margin: 0.2 };

/** Published settings (docs/losses.md) at sizes that people train. */
export const SETTINGS = {
  'face-100k': { batch: 128, identities: 100_000, dim: 512, ...face },
  'face-1m': { batch: 128, identities: 1_000_000, dim: 512, ...face },
  speaker: {
    batch: 128,
    identities: 5994,
    dim: 256,
    loss: 'q-margin',
    alpha: 1.5,
    scale: 10,
    margin: 0.2,
  },
  'cosface-100k': {
    batch: 128,
    identities: 100_000,
    dim: 512,
    loss: 'cosface',
    alpha: 1,
    scale: 64,
    margin: 0.35,
  },
};

/** Small enough for a look while working; figures to publish come from the others. */
export const QUICK_SETTINGS = {
  'face-20k': { batch: 128, identities: 20_000, dim: 512, ...face },
  speaker: SETTINGS.speaker,
  'cosface-5k': { ...SETTINGS['cosface-100k'], identities: 5000 },
};
