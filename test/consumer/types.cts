import alphamargin = require('alphamargin');
import data = require('alphamargin/data');
import verification = require('alphamargin/verification');

export const loss = alphamargin.cosFace({ scale: 64, margin: 0.35 });
export const measure: typeof verification.eer = verification.eer;
export const plan: data.BatchPlan = data.sequential({ rows: 3, batch: 2 });
// @ts-expect-error: what is not typed would pass as `any`.
alphamargin.cosFace('64');
