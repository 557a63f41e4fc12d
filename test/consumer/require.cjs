const alphamargin = require('alphamargin');
const data = require('alphamargin/data');
const verification = require('alphamargin/verification');

require('./training-step.cjs')(alphamargin, verification, data);
