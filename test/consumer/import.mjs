import * as alphamargin from 'alphamargin';
import * as data from 'alphamargin/data';
import * as verification from 'alphamargin/verification';
import trainingStep from './training-step.cjs';

await trainingStep(alphamargin, verification, data);
