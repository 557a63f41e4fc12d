import { describe, expect, it } from 'vitest';
import {
  adagrad,
  backendInfo,
  entmaxSync,
  memory,
  PrototypeHead,
  qMargin,
  qMarginLossSync,
  sgd,
} from '../lib/index.js';
import { normalTensor, randomLabels } from './helpers/random.js';

function newHead(optimizer = sgd({ momentum: 0.9 })): PrototypeHead {
  return new PrototypeHead({
    identities: 500,
    dim: 32,
    loss: qMargin({ alpha: 1.25, scale: 8 }),
    optimizer,
  });
}

/** Bytes held by the addon where heads live. */
function held(): number {
  const { host, device } = memory();
  return backendInfo().device === 'cpu' ? host : device;
}

const batch = [normalTensor(9, 32, 1), randomLabels(9, 500, 1)] as const;

describe('memory', () => {
  it('returns to where it was after dispose', async () => {
    const baseline = memory();
    const before = held();
    const head = newHead();
    // 500 prototypes of 32 float32 numbers and their norms in float64; on a GPU the float16 shadow.
    const shadow = backendInfo().device === 'cpu' ? 0 : 32 * 2;
    const bytes = 500 * (32 * 4 + 8 + shadow);
    expect(head.memory().prototypes).toBe(bytes);
    expect(held() - before).toBeGreaterThanOrEqual(bytes);
    await head.step(...batch);
    await head.posterior(batch[0]);
    await head.nearest(batch[0], { k: 3 });
    await head.reinitialize([{ embeddings: batch[0], labels: batch[1] }]);
    head.dispose();
    expect(memory()).toEqual(baseline);
    expect(head.memory()).toMatchObject({ prototypes: 0, optimizer: 0 });
  });

  it('is given back by calls that fail', async () => {
    using head = newHead();
    await head.step(...batch);
    const baseline = memory();
    const bad = normalTensor(9, 32, 2);
    bad.data[100] = Number.NaN;
    await expect(head.step(bad, batch[1])).rejects.toThrow('row 3');
    await expect(
      head.reinitialize([
        { embeddings: batch[0], labels: batch[1] },
        { embeddings: bad, labels: batch[1] },
      ]),
    ).rejects.toThrow('row 3');
    expect(memory()).toEqual(baseline);
  });

  it('counts optimiser state when it is made', () => {
    for (const [optimizer, bytes] of [
      [sgd(), 0],
      [sgd({ momentum: 0.9 }), 500 * 32 * 4],
      [adagrad(), 500 * 4],
    ] as const) {
      using head = newHead(optimizer);
      expect(head.memory().optimizer).toBe(0);
      head.stepSync(...batch);
      expect(head.memory().optimizer).toBe(bytes);
    }
  });

  it('reports scratch with every call, and its largest', () => {
    using head = newHead();
    const { stats } = head.stepSync(...batch);
    expect(stats.scratchBytes).toBeGreaterThan(9 * 32 * 4);
    expect(head.memory().scratch).toBe(stats.scratchBytes);
  });

  it('is not held by functions', () => {
    const baseline = memory();
    const cosines = normalTensor(20, 500, 1, 0.2);
    entmaxSync(cosines);
    const result = qMarginLossSync(cosines, randomLabels(20, 500, 1));
    result.backwardSync();
    expect(memory()).toEqual(baseline);
  });
});
