import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { PrototypeHead, sgd, tensor } from '../lib/index.js';
import { onDevice } from './helpers/emulation.js';
import { type LossFamily, lossFamilies } from './helpers/losses.js';
import { normalTensor, randomLabels } from './helpers/random.js';

/*
 * A large batch over few prototypes is shared among threads by rows, a small batch by classes. A row
 * does not notice.
 */

const LARGE = 128;
const SMALL = 16;

describe.runIf(!onDevice)('a row of a large batch', () => {
  test.prop(
    [
      fc.constantFrom(1.1, 1.25, 1.5, 2, 3),
      fc.constantFrom<LossFamily>('entmaxHead', 'qMargin', 'a3m'),
      fc.constantFrom(1, 191, 193, 1025, 6000),
      fc.constantFrom(3, 19, 64),
      fc.constantFrom(1, 3),
      fc.boolean(),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    ],
    { numRuns: 20 },
  )(
    'has the bits of the same row in a small one',
    (alpha, family, identities, dim, subCentres, isSpecial, seed) => {
      using head = new PrototypeHead({
        identities,
        dim,
        loss: {
          ...lossFamilies[family](alpha, 12),
          ...(isSpecial && { interTopK: 3, interTopKPenalty: 0.06 }),
        },
        subCentres,
        // No row of the large batch may overflow: the budget is the batch's, not a row's.
        scratchBudget: 2 ** 28,
        optimizer: sgd({ learningRate: 0.1 }),
        seed,
      });
      const embeddings = normalTensor(LARGE, dim, seed);
      const labels = randomLabels(LARGE, identities, seed + 1);
      // One of each small batch, so that means differ by a power of two.
      if (isSpecial) {
        for (let row = 5; row < LARGE; row += SMALL) labels[row] = -1;
      }
      const together = head.evaluateSync(embeddings, labels);
      expect(together.stats.overflowRows).toBe(0);
      const found = head.nearestSync(embeddings, {
        k: Math.min(3, identities),
      });
      for (let first = 0; first < LARGE; first += SMALL) {
        const rows = tensor(
          embeddings.data.slice(first * dim, (first + SMALL) * dim),
          [SMALL, dim],
        );
        const apart = head.evaluateSync(
          rows,
          labels.slice(first, first + SMALL),
        );
        expect(apart.losses).toEqual(
          together.losses.slice(first, first + SMALL),
        );
        expect(apart.supportSize).toEqual(
          together.supportSize.slice(first, first + SMALL),
        );
        // Of the mean over an eighth of the rows, exactly.
        const scaled = apart.gradEmbeddings.data.map(
          (value) => value * (SMALL / LARGE),
        );
        expect(scaled).toEqual(
          together.gradEmbeddings.data.slice(
            first * dim,
            (first + SMALL) * dim,
          ),
        );
        const k = found.identities.length / LARGE;
        const some = head.nearestSync(rows, { k });
        expect(some.identities).toEqual(
          found.identities.slice(first * k, (first + SMALL) * k),
        );
      }
    },
  );
});
