import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { trainingProgress } from '../../lib/cli/training-progress.js';

const step = {
  step: 5,
  steps: 10,
  epoch: 1,
  loss: 2.5,
  supportSize: 12.25,
  inactiveShare: 0.125,
  rows: 128,
};

const record = {
  epoch: 1,
  learningRate: 0.05,
  margin: 0.2,
  loss: 2.25,
  supportSize: 12,
  inactiveShare: 0.5,
  zeroLossShare: 0,
  seconds: 1,
};

/** Shows one step, one epoch and a note; returns what was written. */
function shown(isTTY: boolean): string {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 200 });
  const progress = trainingProgress(2, stream as unknown as NodeJS.WriteStream);
  progress.onStep(step);
  progress.onEpoch(record);
  progress.note('a note');
  progress.close();
  return String(stream.read());
}

test('a terminal gets a bar with loss, support, inactive targets and rate', () => {
  expect(shown(true)).toMatch(
    /epoch 1\/2 =+-+ 50 % \| loss 2\.5000 \| support 12\.3 \| inactive targets 12\.5 % \| \d+ samples\/s/,
  );
});

test('a file gets one plain line per epoch', () => {
  expect(shown(false)).toMatch(
    /^epoch 1\/2 {2}loss 2\.2500 {2}support 12\.0 {2}inactive targets 50\.0 % {2}lr 0\.0500 {2}\d+ samples\/s\na note\n$/,
  );
});
