import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { probit } from '../../lib/verification/probit.js';
import {
  clipCurve,
  type Point,
  thinCurve,
} from '../../lib/verification/thin-curve.js';

/** Distance of a point to the nearest segment of a curve. */
function distanceTo(curve: readonly Point[], [x, y]: Point): number {
  return Math.min(
    ...curve.slice(1).map((to, index) => {
      const from = curve[index]!;
      const dx = to[0] - from[0];
      const dy = to[1] - from[1];
      const square = dx * dx + dy * dy;
      const along =
        square === 0 ? 0 : ((x - from[0]) * dx + (y - from[1]) * dy) / square;
      const t = Math.min(1, Math.max(0, along));
      return Math.hypot(x - from[0] - t * dx, y - from[1] - t * dy);
    }),
  );
}

const staircase = fc
  .array(fc.tuple(fc.boolean(), fc.double({ min: 0, max: 3, noNaN: true })), {
    minLength: 1,
    maxLength: 200,
  })
  .map((steps) => {
    const points: Point[] = [[0, 0]];
    for (const [across, size] of steps) {
      const [x, y] = points.at(-1)!;
      points.push(across ? [x + size, y] : [x, y - size]);
    }
    return points;
  });

describe('thinCurve', () => {
  it('leaves out nothing that can be seen', () => {
    fc.assert(
      fc.property(staircase, (points) => {
        const thin = thinCurve(points, [1, 1], 0.5);
        expect(thin[0]).toEqual(points[0]);
        expect(thin.at(-1)).toEqual(points.at(-1));
        if (thin.length === 1) return;
        for (const point of points) {
          expect(distanceTo(thin, point)).toBeLessThanOrEqual(0.5);
        }
      }),
    );
  });

  it('keeps the corners of visible steps', () => {
    const corners: Point[] = [
      [0, 0],
      [0, -5],
      [20, -5],
      [20, -30],
    ];
    const dense: Point[] = [];
    corners.slice(1).forEach((to, index) => {
      const from = corners[index]!;
      for (let share = 0; share < 1000; share += 1) {
        const t = share / 1000;
        dense.push([
          from[0] + t * (to[0] - from[0]),
          from[1] + t * (to[1] - from[1]),
        ]);
      }
    });
    dense.push([20, -30]);
    const thin = thinCurve(dense, [1, 1]);
    expect(thin).toHaveLength(corners.length);
    thin.forEach(([x, y], index) => {
      const corner = corners[index]!;
      expect(Math.hypot(x - corner[0], y - corner[1])).toBeLessThan(0.5);
    });
  });

  it('makes a few hundred points of a smooth curve of a million', () => {
    function* smooth(): Generator<Point> {
      for (let i = 1; i <= 1_000_000; i += 1) {
        yield [Math.log10(i / 1e6), Math.sqrt(i / 1e6)];
      }
    }
    const thin = thinCurve(smooth(), [63, 380]);
    expect(thin.length).toBeGreaterThan(10);
    expect(thin.length).toBeLessThan(500);
  });

  it('keeps a lone point', () => {
    expect(thinCurve([[1, 2]], [1, 1])).toEqual([[1, 2]]);
  });
});

describe('clipCurve', () => {
  const window = { x: [0, 10], y: [0, 10] } as const;

  it('cuts where the curve enters and leaves', () => {
    const curve: Point[] = [
      [-5, 15],
      [5, 5],
      [15, 5],
    ];
    expect(clipCurve(curve, window)).toEqual([
      [0, 10],
      [5, 5],
      [10, 5],
    ]);
  });

  it('keeps what is inside as it is, and drops what is outside', () => {
    const inside: Point[] = [
      [1, 9],
      [1, 2],
      [8, 2],
    ];
    expect(clipCurve(inside, window)).toEqual(inside);
    expect(
      clipCurve(
        [
          [11, 5],
          [12, 5],
        ],
        window,
      ),
    ).toEqual([]);
    expect(clipCurve([[3, 3]], window)).toEqual([[3, 3]]);
    expect(clipCurve([[30, 3]], window)).toEqual([]);
  });
});

describe('probit', () => {
  it.each([
    [0.5, 0],
    [0.975, 1.959963984540054],
    [0.84134474606854293, 1],
    [0.02275013194817921, -2],
    [1e-6, -4.753424308822899],
  ])('of %d is %d', (rate, deviate) => {
    expect(probit(rate)).toBeCloseTo(deviate, 7);
  });

  it('is odd about a half, and infinite at the ends', () => {
    for (const rate of [1e-9, 0.001, 0.024, 0.0245, 0.2, 0.49]) {
      expect(probit(rate)).toBeCloseTo(-probit(1 - rate), 6);
    }
    expect(probit(0)).toBe(Number.NEGATIVE_INFINITY);
    expect(probit(1)).toBe(Number.POSITIVE_INFINITY);
  });
});
