import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  arcFace,
  cosFace,
  PrototypeHead,
  type PrototypeHeadOptions,
  qMargin,
  sgd,
  tensor,
} from '../lib/index.js';
import { expectLoss, largestDifference } from './helpers/contract.js';
import { onDevice } from './helpers/emulation.js';
import { expectFailure } from './helpers/failures.js';
import {
  clusteredEmbeddings,
  cornerTensor,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceCosines } from './helpers/reference-head.js';
import { referenceSubCentres } from './helpers/reference-sub-centres.js';
import { expectSubCentreStep } from './helpers/sub-centre-step.js';

describe('sub-centres', () => {
  describe.each([1, 1.1, 1.5, 2.5])('α %d', (alpha) => {
    const losses = [
      qMargin({ alpha, scale: 12, margin: 0.2 }),
      arcFace({
        alpha,
        scale: 12,
        margin: 0.3,
        interTopK: { k: 3, penalty: 0.1 },
      }),
    ];
    it.each([
      [1, 1, 2, 3],
      [5, 4, 3, 7],
      [11, 331, 3, 19],
      ...(onDevice ? [] : [[7, 700, 7, 16] as const]),
      [3, 5, 256, 4],
    ] as const)('B %d, C %d, K %d, D %d', async (rows, identities, k, dim) => {
      const prototypes = normalTensor(identities * k, dim, 1);
      const labels = randomLabels(rows, identities, 3);
      const places = labels.map((label) => label * k + 1);
      for (const embeddings of [
        normalTensor(rows, dim, 2),
        clusteredEmbeddings(prototypes, places, 0.9, 5),
      ]) {
        for (const loss of losses) {
          await expectSubCentreStep(loss, prototypes, embeddings, labels, k);
        }
      }
    });

    it('overflowing rows, a reference, ignored rows, no shadow', async () => {
      const [rows, identities, dim, k] = [7, 330, 19, 3];
      const prototypes = normalTensor(identities * k, dim, 1);
      const embeddings = normalTensor(rows, dim, 2);
      const labels = randomLabels(rows, identities, 3);
      labels[2] = -1;
      const measure = normalTensor(1, identities, 5, 0.3).data.map(Math.exp);
      for (const loss of losses) {
        const run = (
          options: Parameters<typeof expectSubCentreStep>[5],
          scale = 12,
        ) =>
          expectSubCentreStep(
            { ...loss, scale },
            prototypes,
            embeddings,
            labels,
            k,
            options,
          );
        await run({ reference: measure });
        if (!onDevice) await run({ shadow: 'none' });
        const { stats } = await run({ scratchBudget: 0 }, 4);
        if (alpha > 1 && alpha < 2) {
          expect(stats.overflowRows).toBeGreaterThan(0);
        }
        await run({ scratchBudget: 0, reference: measure }, 4);
      }
    });

    it('equal sub-centres: the first takes the gradient', async () => {
      // Cosines are multiples of 1/32: many are the same, and all are exact.
      const prototypes = cornerTensor(300, 3);
      prototypes.data.copyWithin(64 * 1, 0, 64);
      const embeddings = cornerTensor(5, 4);
      const labels = randomLabels(5, 100, 5);
      const loss = cosFace({ alpha, scale: 16, margin: 0 });
      await expectSubCentreStep(loss, prototypes, embeddings, labels, 3);
    });
  });

  // A rounded product may be off by more than what is between them.
  it.each([1, 1.1])('nearly equal sub-centres: α %d', async (alpha) => {
    const [rows, identities, dim] = [48, 24, 300];
    const directions = normalTensor(identities, dim, 1).data;
    const noise = normalTensor(2 * identities, dim, 2, 4e-6).data;
    const prototypes = tensor(
      noise.map((value, i) => {
        const place = Math.floor(i / dim / 2) * dim + (i % dim);
        return directions[place]! * (1 + value);
      }),
      [2 * identities, dim],
    );
    // Between an identity and the next.
    const embeddings = normalTensor(rows, dim, 3, 0.2);
    embeddings.data.forEach((value, i) => {
      const own = (Math.floor(i / dim) % identities) * dim + (i % dim);
      const next = (own + dim) % directions.length;
      embeddings.data[i] = value + directions[own]! + directions[next]!;
    });
    const loss = cosFace({ alpha, scale: 16, margin: 0 });
    let close = 0;
    for (let row = 0; row < rows; row += 1) {
      const values = embeddings.data.slice(row * dim, (row + 1) * dim);
      const one = tensor(values, [1, dim]);
      const label = Int32Array.of((row + 7) % identities);
      const cosines = referenceCosines(values, prototypes.data, dim)[0]!;
      const { gradPrototypes, solved } = referenceSubCentres(
        ...([loss, prototypes, one, label, 2, null] as const),
      );
      using head = new PrototypeHead({
        ...{ identities, dim, loss, prototypes, subCentres: 2 },
        optimizer: sgd({ learningRate: 1 }),
        scratchBudget: 0,
      });
      head.stepSync(one, label);
      const { data } = await head.prototypes();
      const isMoved = (place: number) =>
        data
          .subarray(place * dim, (place + 1) * dim)
          .some((value, k) => value !== prototypes.data[place * dim + k]);
      const isToMove = (place: number) =>
        gradPrototypes.subarray(place * dim, (place + 1) * dim).some(Boolean);
      solved[0]!.posterior.forEach((p, identity) => {
        const [first, second] = [2 * identity, 2 * identity + 1];
        const gap = Math.abs(cosines[first]! - cosines[second]!);
        // Those of large posteriors are exact, and kept as float32: there the larger is to be seen.
        if (p < 0.1 || gap < 2 ** -23) return;
        if (gap < 2 ** -21) close += 1;
        expect(isMoved(first)).toBe(isToMove(first));
        expect(isMoved(second)).toBe(isToMove(second));
      });
    }
    expect(close).toBeGreaterThan(10);
  });

  it('label smoothing counts identities', async () => {
    const prototypes = normalTensor(60, 7, 1);
    await expectSubCentreStep(
      cosFace({ scale: 8, labelSmoothing: 0.1 }),
      prototypes,
      normalTensor(5, 7, 2),
      randomLabels(5, 20, 3),
      3,
    );
  });

  it('twins of every prototype change nothing: bounds take them for one class', () => {
    const single = normalTensor(400, 8, 1);
    const twins = tensor(
      Float32Array.from({ length: 400 * 4 * 8 }, (_, i) => {
        const row = Math.floor(i / 8);
        return single.data[Math.floor(row / 4) * 8 + (i % 8)]!;
      }),
      [1600, 8],
    );
    const x = normalTensor(9, 8, 2);
    const y = randomLabels(9, 400, 3);
    for (const alpha of [1.25, 1.5, 2]) {
      const results = ([1, 4] as const).map((subCentres) => {
        using head = new PrototypeHead({
          identities: 400,
          dim: 8,
          subCentres,
          loss: qMargin({ alpha, scale: 10 }),
          optimizer: sgd(),
          prototypes: subCentres === 1 ? single : twins,
        });
        return head.evaluateSync(x, y);
      });
      expect(results[1]!.losses).toEqual(results[0]!.losses);
      expect(results[1]!.supportSize).toEqual(results[0]!.supportSize);
      expect(results[1]!.gradEmbeddings).toEqual(results[0]!.gradEmbeddings);
    }
  });

  it.each([1, 3, 20])('nearest finds %d identities, each once', async (k) => {
    const [identities, subCentres, dim] = [500, 3, 9];
    const prototypes = normalTensor(identities * subCentres, dim, 1);
    using head = new PrototypeHead({
      identities,
      dim,
      subCentres,
      loss: qMargin(),
      optimizer: sgd(),
      prototypes,
    });
    const queries = normalTensor(7, dim, 2);
    const found = await head.nearest(queries, { k });
    const cosines = referenceCosines(queries.data, prototypes.data, dim);
    cosines.forEach((row, i) => {
      const best = Array.from({ length: identities }, (_, identity) => ({
        identity,
        cosine: Math.max(
          ...row.slice(identity * subCentres, (identity + 1) * subCentres),
        ),
      })).sort((a, b) => b.cosine - a.cosine || a.identity - b.identity);
      expect([...found.identities.subarray(i * k, (i + 1) * k)]).toEqual(
        best.slice(0, k).map(({ identity }) => identity),
      );
      best.slice(0, k).forEach(({ cosine }, rank) => {
        expect(found.cosines[i * k + rank]).toBeCloseTo(cosine, 6);
      });
    });
  });

  it('nearest with more ties than a query may keep', () => {
    const prototypes = tensor(new Float32Array(6000 * 2).fill(1), [6000, 2]);
    using head = new PrototypeHead({
      identities: 3000,
      dim: 2,
      subCentres: 2,
      loss: qMargin(),
      optimizer: sgd(),
      prototypes,
    });
    const query = tensor(Float32Array.of(1, 1), [1, 2]);
    const { identities } = head.nearestSync(query, { k: 5 });
    expect([...identities]).toEqual([0, 1, 2, 3, 4]);
    const all = head.nearestSync(query, { k: 3000 }).identities;
    expect([...all]).toEqual(Array.from({ length: 3000 }, (_, i) => i));
  });

  it('prototypes are read and written by identity', async () => {
    using head = new PrototypeHead({
      identities: 10,
      dim: 3,
      subCentres: 2,
      loss: qMargin(),
      optimizer: sgd(),
      seed: 4,
    });
    const all = await head.prototypes();
    expect(all.dims).toEqual([20, 3]);
    const some = await head.prototypes(Int32Array.of(7, 2));
    expect(some.dims).toEqual([4, 3]);
    expect([...some.data]).toEqual([
      ...all.data.subarray(14 * 3, 16 * 3),
      ...all.data.subarray(4 * 3, 6 * 3),
    ]);
    const fresh = normalTensor(4, 3, 5);
    await head.setPrototypes(fresh, Int32Array.of(9, 0));
    const after = await head.prototypes();
    expect(after.data.subarray(18 * 3)).toEqual(fresh.data.subarray(0, 6));
    expect(after.data.subarray(0, 6)).toEqual(fresh.data.subarray(6));
    expect(after.data.subarray(6, 54)).toEqual(all.data.subarray(6, 54));
    expect(head.memory().prototypes).toBeGreaterThanOrEqual(20 * (12 + 8));
  });

  it('re-initialisation: the means of the samples a sub-centre wins', async () => {
    const [identities, subCentres, dim] = [4, 3, 5];
    const prototypes = normalTensor(identities * subCentres, dim, 1);
    using head = new PrototypeHead({
      identities,
      dim,
      subCentres,
      loss: qMargin(),
      optimizer: sgd(),
      prototypes,
    });
    const x = normalTensor(30, dim, 2);
    const y = randomLabels(30, identities, 3);
    y[5] = -1;
    const chosen = Int32Array.of(0, 1, 3);
    const replaced = await head.reinitialize([{ embeddings: x, labels: y }], {
      identities: chosen,
    });
    const cosines = referenceCosines(x.data, prototypes.data, dim);
    const sums = new Map<number, number[]>();
    y.forEach((label, i) => {
      if (label === -1 || label === 2) return;
      const own = cosines[i]!.slice(
        label * subCentres,
        (label + 1) * subCentres,
      );
      const row = label * subCentres + own.indexOf(Math.max(...own));
      const values = [...x.data.subarray(i * dim, (i + 1) * dim)];
      const norm = Math.hypot(...values);
      const sum = sums.get(row) ?? values.map(() => 0);
      sums.set(
        row,
        sum.map((total, k) => total + values[k]! / norm),
      );
    });
    expect(replaced).toBe(sums.size);
    const after = (await head.prototypes()).data;
    for (let row = 0; row < identities * subCentres; row += 1) {
      const place = after.subarray(row * dim, (row + 1) * dim);
      const sum = sums.get(row);
      if (sum === undefined) {
        expect(place).toEqual(
          prototypes.data.subarray(row * dim, (row + 1) * dim),
        );
      } else {
        const norm = Math.hypot(...sum);
        expect(
          largestDifference(
            place,
            sum.map((value) => value / norm),
          ),
        ).toBeLessThan(1e-6);
      }
    }
    expect(sums.size).toBeLessThan(identities * subCentres);
  });

  it('goes through a checkpoint to the same bits', async () => {
    using head = new PrototypeHead({
      identities: 40,
      dim: 7,
      subCentres: 3,
      loss: qMargin({ scale: 12 }),
      optimizer: sgd({ momentum: 0.9 }),
    });
    const [x, y] = [normalTensor(5, 7, 1), randomLabels(5, 40, 2)];
    head.stepSync(x, y);
    const folder = mkdtempSync(path.join(tmpdir(), 'sub-centres-'));
    try {
      const file = path.join(folder, 'head.safetensors');
      await head.save(file);
      using loaded = await PrototypeHead.load(file);
      expect(loaded.subCentres).toBe(3);
      expect(loaded.identities).toBe(40);
      using onCpu = await PrototypeHead.load(file, { device: 'cpu' });
      onCpu.stepSync(x, y);
      expect(loaded.stepSync(x, y).losses).toEqual(head.stepSync(x, y).losses);
      head.evaluateSync(x, y).losses.forEach((loss, i) => {
        expectLoss(onCpu.evaluateSync(x, y).losses[i]!, loss);
      });
      expect(await loaded.prototypes()).toEqual(await head.prototypes());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('refuses', () => {
  const make = (options: Partial<PrototypeHeadOptions>) =>
    new PrototypeHead({
      identities: 10,
      dim: 3,
      loss: qMargin(),
      optimizer: sgd(),
      ...options,
    });
  const calls: [string, Partial<PrototypeHeadOptions>, RegExp][] = [
    ['none', { subCentres: 0 }, /subCentres.*\[1, 256\].*0/],
    ['half a one', { subCentres: 1.5 }, /subCentres.*1\.5/],
    ['too many', { subCentres: 257 }, /subCentres.*257/],
    [
      'more rows than indices',
      { subCentres: 2, identities: 2 ** 31 - 1 },
      /identities \* subCentres/,
    ],
    [
      'prototypes of another number',
      { subCentres: 2, prototypes: normalTensor(10, 3, 1) },
      /prototypes.*\[20, 3\]/,
    ],
  ];
  it.each(calls)('%s', (what, options, message) =>
    expectFailure(
      [what, () => make(options), 'ERR_INVALID_ARGUMENT', message],
      'sub-centres.test.ts',
    ),
  );
});
