import { expect, test } from 'vitest';
import {
  parseLearningRateSchedule,
  parseMarginRamp,
} from '../../lib/cli/schedules.js';
import { UsageError } from '../../lib/cli/usage.js';
import {
  AlphaMarginError,
  cosineDecay,
  exponentialDecay,
  linearDecay,
  marginRamp,
  polynomialDecay,
  stepDecay,
  warmup,
} from '../../lib/index.js';

/** Positions by epochs done, at 100 steps per epoch and 50 epochs. */
const at = (epochsDone: number) => ({
  step: Math.round(epochsDone * 100),
  stepsPerEpoch: 100,
  epochs: 50,
});

const rates: [string, number, number][] = [
  ['constant', 31, 1],
  ['linear', 0, 1],
  ['linear', 12.5, 0.75],
  ['linear', 50, 0],
  ['cosine', 0, 1],
  ['cosine', 12.5, 0.5 + Math.SQRT1_2 / 2],
  ['cosine', 50, 0],
  ['poly:2', 25, 0.25],
  ['poly:0.5', 37.5, 0.5],
  ['steps:10,20:0.1', 9.99, 1],
  ['steps:10,20:0.1', 10, 0.1],
  ['steps:10,20:0.1', 20, 0.01],
  ['exp', 0, 1],
  ['exp', 25, Math.sqrt(5e-4)],
  ['exp', 50, 5e-4],
  ['exp:0.01', 25, 0.1],
];

test.each(rates)('%s after %d epochs is %d', (text, epochs, expected) => {
  expect(parseLearningRateSchedule(text)(at(epochs))).toBeCloseTo(expected, 12);
});

test.each([
  '',
  'cosines',
  'cosine:1',
  'linear:2',
  'poly',
  'poly:',
  'poly:-1',
  'poly:2:3',
  'steps:10',
  'steps::0.1',
  'steps:10,x:0.1',
  'steps:10:0',
  'exp:0',
  'exp:2',
  'exp:Infinity',
])("learning-rate schedule '%s' is bad usage", (text) => {
  expect(() => parseLearningRateSchedule(text)).toThrow(UsageError);
});

test('the margin ramp is 0, then exponential, then 1', () => {
  const ramp = parseMarginRamp('20:40');
  expect(ramp(at(0))).toBe(0);
  expect(ramp(at(19.99))).toBe(0);
  expect(ramp(at(20))).toBe(0);
  // WeSpeaker: 1 − exp(x·ln 0.001), x from 0 to 1.
  expect(ramp(at(25))).toBeCloseTo(1 - 0.001 ** 0.25, 12);
  expect(ramp(at(30))).toBeCloseTo(1 - Math.sqrt(0.001), 12);
  expect(ramp(at(39.99))).toBeCloseTo(0.999, 4);
  expect(ramp(at(40))).toBe(1);
  expect(ramp(at(50))).toBe(1);
  let last = 0;
  for (let epochs = 0; epochs <= 50; epochs += 0.25) {
    expect(ramp(at(epochs))).toBeGreaterThanOrEqual(last);
    last = ramp(at(epochs));
  }
});

test.each(['', '20', '20:', ':40', '40:20', '20:20', '-1:5', '1:2:3', 'a:b'])(
  "margin ramp '%s' is bad usage",
  (text) => {
    expect(() => parseMarginRamp(text)).toThrow(UsageError);
  },
);

test('the warm-up rises linearly and its first step already learns', () => {
  const rise = warmup({ epochs: 2 });
  expect(rise(at(0))).toBeCloseTo(1 / 200, 12);
  expect(rise(at(0.99))).toBeCloseTo(0.5, 12);
  expect(rise(at(2))).toBe(1);
  expect(rise(at(50))).toBe(1);
  expect(warmup({ epochs: 0 })(at(0))).toBe(1);
});

test.each([
  ['polynomialDecay', () => polynomialDecay({ power: 0 }), /power/],
  ['exponentialDecay', () => exponentialDecay({ ratio: 2 }), /ratio/],
  ['stepDecay', () => stepDecay({ epochs: [3, -1] }), /epochs\[1\]/],
  ['stepDecay', () => stepDecay({ epochs: [3], factor: 0 }), /factor/],
  ['stepDecay', () => stepDecay({ epochs: 3 as unknown as number[] }), /array/],
  ['warmup', () => warmup({ epochs: -1 }), /epochs/],
  ['marginRamp', () => marginRamp({ start: 4, end: 4 }), /end.*above.*4/],
  [
    'marginRamp',
    () => marginRamp({ start: 1, end: 2, stop: 3 } as never),
    /stop/,
  ],
  ['schedule', () => linearDecay()({ ...at(1), step: -1 }), /step/],
  ['schedule', () => cosineDecay()({ ...at(1), epochs: 0 }), /epochs/],
  [
    'schedule',
    () => warmup({ epochs: 1 })({ ...at(1), stepsPerEpoch: 0 }),
    /stepsPerEpoch/,
  ],
])('%s refuses what makes no factor', (name, call, message) => {
  expect(call).toThrow(AlphaMarginError);
  expect(call).toThrow(message);
  expect(call).toThrow(new RegExp(`^${name}: expected`));
});
