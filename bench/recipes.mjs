/** One recipe per data set, the same for every loss, as flags of `alphamargin train`. */
export const RECIPES = {
  lfw: '--project 256 --project-init identity --project-lr 0.005 --lr 1 --noise 0.3 --epochs 15 --batch 128',
  omniglot:
    '--project 128 --project-init identity --project-lr 0.1 --lr 1 --noise 0.3 --epochs 15 --batch 128',
};

/** α-divergence losses at the face setting of the papers, softmax losses at the same scale. */
export const LOSSES = {
  CosFace: '--loss cosface --scale 32 --margin 0.2',
  ArcFace: '--loss arcface --scale 32 --margin 0.2',
  'EntMax (α 1.25)': '--loss entmax --alpha 1.25 --scale 32',
  'Q-Margin (α 1.25)': '--loss q-margin --alpha 1.25 --scale 32 --margin 0.2',
  'Q-Margin (α 1.5)': '--loss q-margin --alpha 1.5 --scale 10 --margin 0.2',
  'A3M-I (α 1.25)':
    '--loss a3m --alpha 1.25 --scale 32 --margin 0.2 --reinitialize-at 8',
};
