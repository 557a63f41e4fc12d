import alphamargin = require('alphamargin');
import verification = require('alphamargin/verification');

export const loss = alphamargin.cosFace({ scale: 64, margin: 0.35 });
export const measure: typeof verification.eer = verification.eer;
// @ts-expect-error: what is not typed would pass as `any`.
alphamargin.cosFace('64');
