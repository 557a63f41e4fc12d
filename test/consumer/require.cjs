const alphamargin = require('alphamargin');
const verification = require('alphamargin/verification');

require('./training-step.cjs')(alphamargin, verification);
