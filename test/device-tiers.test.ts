import { describe, expect, it } from 'vitest';
import { PrototypeHead, sgd } from '../lib/index.js';
import { contract, expectLoss, relativeError } from './helpers/contract.js';
import { emulated, filterTiers } from './helpers/emulation.js';
import { lossFamilies } from './helpers/losses.js';
import {
  clusteredEmbeddings,
  normalTensor,
  randomLabels,
} from './helpers/random.js';
import { referenceHead } from './helpers/reference-head.js';

/*
 * All tiers of the filter at awkward sizes, with room for the candidates and without: whatever a
 * tier lets through, the step is that of the float64 reference.
 */

const sizes = [1, 19, 111, 513, 989, 4097];

describe.runIf(emulated).each(filterTiers)(
  'the step of a head, %s',
  (filter) => {
    const cases = [
      ...sizes.map((identities) => ({ batch: 19, identities, dim: 33 })),
      ...[1, 111, 513].map((batch) => ({ batch, identities: 111, dim: 19 })),
      ...[1, 513, 989].map((dim) => ({ batch: 7, identities: 111, dim })),
    ];
    const all = cases.flatMap((sizesOf) =>
      [undefined, 0].map((scratchBudget) => ({ ...sizesOf, scratchBudget })),
    );
    it.each(all)(
      'B $batch, C $identities, D $dim, budget $scratchBudget',
      async (setting) => {
        const { batch, identities, dim, scratchBudget } = setting;
        const loss = lossFamilies.qMargin(1.25, 16);
        const prototypes = normalTensor(identities, dim, 1);
        const labels = randomLabels(batch, identities, 2);
        const embeddings = clusteredEmbeddings(prototypes, labels, 1.5, 3);
        const expected = referenceHead(loss, {
          embeddings: embeddings.data,
          prototypes: prototypes.data,
          labels,
          dim,
        });
        const squares = expected.gradPrototypes.reduce(
          (sum, g) => sum + g * g,
          0,
        );
        const norm = Math.sqrt(squares) || 1;
        const learningRate = (1000 * Math.sqrt(identities * dim)) / norm;
        using head = new PrototypeHead({
          identities,
          dim,
          loss,
          optimizer: sgd({ learningRate }),
          prototypes,
          filter,
          ...(scratchBudget === undefined ? {} : { scratchBudget }),
        });
        const result = head.stepSync(embeddings, labels);
        result.losses.forEach((value, i) => {
          expectLoss(value, expected.rows[i]!.loss);
        });
        expect(
          relativeError(result.gradEmbeddings.data, expected.gradEmbeddings),
        ).toBeLessThanOrEqual(contract.headGradient);
        const moved = Float64Array.from(
          (await head.prototypes()).data,
          (value, k) => (prototypes.data[k]! - value) / learningRate,
        );
        expect(
          relativeError(moved, expected.gradPrototypes),
        ).toBeLessThanOrEqual(contract.headGradient);
      },
    );
  },
);

describe.runIf(emulated)(
  'identification with ties beyond the room of a list',
  () => {
    it.each(filterTiers)('%s', (filter) => {
      const [identities, dim] = [20_000, 8];
      const one = normalTensor(1, dim, 7);
      const data = Float32Array.from(
        { length: identities * dim },
        (_, i) => one.data[i % dim]!,
      );
      using head = new PrototypeHead({
        identities,
        dim,
        loss: lossFamilies.entmaxHead(1.5, 8),
        optimizer: sgd(),
        prototypes: { data, dims: [identities, dim] },
        filter,
      });
      const found = head.nearestSync(normalTensor(3, dim, 8), { k: 5 });
      for (let query = 0; query < 3; query += 1) {
        const row = found.identities.subarray(query * 5, query * 5 + 5);
        expect([...row]).toEqual([0, 1, 2, 3, 4]);
      }
    });
  },
);
