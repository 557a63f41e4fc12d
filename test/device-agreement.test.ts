import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  adagrad,
  type Device,
  entmaxSync,
  PrototypeHead,
  sgd,
  type Tensor,
  tensor,
} from '../lib/index.js';
import {
  contract,
  expectLoss,
  expectSameBits,
  largestDifference,
  relativeError,
} from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
  uniform,
} from './helpers/random.js';

/* The CPU and the device that the suite runs on give the same numbers. */

const [identities, dim] = [400, 48];

function newHead(
  device: Device,
  loss = lossFamilies.qMargin(1.25, 16),
  optimizer = sgd({ learningRate: 0.5, momentum: 0.9, weightDecay: 1e-4 }),
) {
  return new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer,
    device,
    seed: 5,
  });
}

function batchOf(prototypes: Tensor, seed: number) {
  const labels = randomLabels(32, identities, seed);
  return [clusteredEmbeddings(prototypes, labels, 0.3, seed), labels] as const;
}

describe.runIf(onDevice)('the CPU and the device', () => {
  it('draw the same prototypes', async () => {
    using cpu = newHead('cpu');
    using device = newHead('auto');
    expect(cpu.device).toBe('cpu');
    expect(device.device).toMatch(/^cuda/);
    const rows = await Promise.all([cpu.prototypes(), device.prototypes()]);
    expectSameBits(rows[0].data, rows[1].data);
  });

  it.each([
    ['qMargin', 1.25, sgd({ learningRate: 0.5, momentum: 0.9 })],
    ['arcFace', 1, sgd({ learningRate: 0.1, weightDecay: 1e-3 })],
    ['a3m', 1.5, adagrad({ learningRate: 0.1 })],
    ['combinedMargin', 2, sgd({ learningRate: 0.5 })],
    ['entmaxHead', 3, sgd({ learningRate: 0.01 })],
  ] as const)('take the same steps: %s, α %d', async (family, alpha, rule) => {
    const loss = lossFamilies[family](alpha, 16);
    using cpu = newHead('cpu', loss, rule);
    using device = newHead('auto', loss, rule);
    const start = await cpu.prototypes();
    for (let step = 0; step < 5; step += 1) {
      const [embeddings, labels] = batchOf(start, step);
      const a = await cpu.step(embeddings, labels);
      const b = await device.step(embeddings, labels);
      b.losses.forEach((value, i) => {
        expectLoss(value, a.losses[i]!);
      });
      const gradients = [b, a].map(({ gradEmbeddings }) => gradEmbeddings.data);
      expect(relativeError(gradients[0]!, gradients[1]!)).toBeLessThanOrEqual(
        contract.headGradient,
      );
      expect(b.supportSize).toEqual(a.supportSize);
      expect(b.targetActive).toEqual(a.targetActive);
    }
    const [p, q] = await Promise.all([cpu.prototypes(), device.prototypes()]);
    expect(relativeError(q.data, p.data)).toBeLessThanOrEqual(1e-6);
  });

  it('continue each other’s checkpoints', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'alphamargin-'));
    try {
      using first = newHead('auto');
      const start = await first.prototypes();
      await first.step(...batchOf(start, 1));
      const file = path.join(folder, 'head.safetensors');
      await first.save(file);
      using second = await PrototypeHead.load(file, { device: 'cpu' });
      expectSameBits(
        (await second.prototypes()).data,
        (await first.prototypes()).data,
      );
      const a = await first.step(...batchOf(start, 2));
      const b = await second.step(...batchOf(start, 2));
      expect(Math.abs(a.loss - b.loss)).toBeLessThanOrEqual(1e-6 * a.loss);
      await second.save(file);
      using third = await PrototypeHead.load(file);
      expect(third.device).toBe(first.device);
      expectSameBits(
        (await third.prototypes()).data,
        (await second.prototypes()).data,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('train alike: loss curves of three epochs within 1e-4', async () => {
    using cpu = newHead('cpu');
    using device = newHead('auto');
    const centres = normalTensor(identities, dim, 77);
    const next = uniform(3);
    const samples = Int32Array.from({ length: 1200 }, (_, i) => i % identities);
    const all = clusteredEmbeddings(centres, samples, 0.6, 9);
    const curves: [number, number][] = [];
    for (let epoch = 0; epoch < 3; epoch += 1) {
      for (let batch = 0; batch < 12; batch += 1) {
        const rows = Array.from({ length: 100 }, () =>
          Math.floor(next() * samples.length),
        );
        const data = Float32Array.from(
          rows.flatMap((row) => [
            ...all.data.subarray(row * dim, (row + 1) * dim),
          ]),
        );
        const labels = Int32Array.from(rows, (row) => samples[row]!);
        const embeddings = tensor(data, [rows.length, dim]);
        const a = await cpu.step(embeddings, labels);
        const b = await device.step(embeddings, labels);
        curves.push([a.loss, b.loss]);
      }
    }
    const difference = Math.max(...curves.map(([a, b]) => Math.abs(a - b)));
    expect(difference).toBeLessThanOrEqual(1e-4);
    expect(curves.at(-1)![0]).toBeLessThan(curves[0]![0]);
  });

  it('agree on long rows, which many blocks share', () => {
    const logits = normalTensor(2, 60_000, 1, 3);
    for (const alpha of [1, 1.25, 1.5, 2, 4]) {
      const [a, b] = (['cpu', 'auto'] as const).map((device) =>
        entmaxSync(logits, { alpha, device }),
      );
      expect(largestDifference(a!.data, b!.data)).toBeLessThanOrEqual(
        contract.posterior,
      );
    }
  });
});
