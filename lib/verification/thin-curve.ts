/** A point of a plot, in the plot's own coordinates. */
export type Point = readonly [x: number, y: number];

/** A rectangle of a plot: what is shown. */
export interface PlotWindow {
  readonly x: readonly [low: number, high: number];
  readonly y: readonly [low: number, high: number];
}

/**
 * Thins a monotone curve to what can be seen: no drawn line is farther than
 * `tolerance` from a point left out, so every visible step stays a step.
 *
 * First points closer than half the tolerance to the one kept before are
 * dropped, except the last before each jump (its corner), in one pass over
 * possibly millions of points. Then Ramer, Douglas and Peucker's rule.
 *
 * @param points The curve, in drawing order.
 * @param scale Pixels per unit along x and y.
 * @param tolerance Pixels. Default 0.5.
 */
export function thinCurve(
  points: Iterable<Point>,
  scale: Point,
  tolerance = 0.5,
): Point[] {
  const near = tolerance / 2;
  const kept: Point[] = [];
  let skipped: Point | undefined;
  for (const point of points) {
    const last = kept.at(-1);
    if (
      last !== undefined &&
      Math.abs(point[0] - last[0]) * scale[0] < near &&
      Math.abs(point[1] - last[1]) * scale[1] < near
    ) {
      skipped = point;
      continue;
    }
    if (skipped !== undefined) kept.push(skipped);
    skipped = undefined;
    kept.push(point);
  }
  if (skipped !== undefined) kept.push(skipped);
  return simplify(kept, scale, near);
}

/** Ramer–Douglas–Peucker with a stack of its own: curves may be long. */
function simplify(
  points: readonly Point[],
  scale: Point,
  tolerance: number,
): Point[] {
  const keep = new Uint8Array(points.length);
  keep[0] = 1;
  keep[points.length - 1] = 1;
  const ranges: [number, number][] = [[0, points.length - 1]];
  for (let range = ranges.pop(); range !== undefined; range = ranges.pop()) {
    const [first, last] = range;
    let farthest = -1;
    let distance = tolerance;
    for (let index = first + 1; index < last; index += 1) {
      const d = distanceToSegment(
        points[index]!,
        points[first]!,
        points[last]!,
        scale,
      );
      if (d > distance) {
        distance = d;
        farthest = index;
      }
    }
    if (farthest < 0) continue;
    keep[farthest] = 1;
    ranges.push([first, farthest], [farthest, last]);
  }
  return points.filter((_, index) => keep[index] === 1);
}

/** Distance in pixels from a point to the segment between two others. */
function distanceToSegment(
  point: Point,
  from: Point,
  to: Point,
  scale: Point,
): number {
  const px = (point[0] - from[0]) * scale[0];
  const py = (point[1] - from[1]) * scale[1];
  const dx = (to[0] - from[0]) * scale[0];
  const dy = (to[1] - from[1]) * scale[1];
  const square = dx * dx + dy * dy;
  const along =
    square === 0 ? 0 : Math.min(1, Math.max(0, (px * dx + py * dy) / square));
  return Math.hypot(px - along * dx, py - along * dy);
}

/**
 * Cuts a monotone curve to a window. Done here rather than by an SVG clip path,
 * whose identifier would collide when several plots are put in one page.
 */
export function clipCurve(
  points: readonly Point[],
  window: PlotWindow,
): Point[] {
  const clipped: Point[] = [];
  const add = (point: Point) => {
    const last = clipped.at(-1);
    if (last?.[0] !== point[0] || last[1] !== point[1]) clipped.push(point);
  };
  if (points.length === 1) {
    return points.filter(
      ([x, y]) => inside(x, window.x) && inside(y, window.y),
    );
  }
  for (let index = 1; index < points.length; index += 1) {
    const segment = clipSegment(points[index - 1]!, points[index]!, window);
    segment?.forEach(add);
  }
  return clipped;
}

function inside(value: number, [low, high]: Point): boolean {
  return value >= low && value <= high;
}

/** Liang and Barsky: the part of a segment within a window, if any. */
function clipSegment(
  from: Point,
  to: Point,
  window: PlotWindow,
): [Point, Point] | undefined {
  let start = 0;
  let end = 1;
  for (const axis of [0, 1] as const) {
    const [low, high] = axis === 0 ? window.x : window.y;
    const delta = to[axis] - from[axis];
    if (delta === 0) {
      if (!inside(from[axis], [low, high])) return undefined;
      continue;
    }
    const atLow = (low - from[axis]) / delta;
    const atHigh = (high - from[axis]) / delta;
    start = Math.max(start, Math.min(atLow, atHigh));
    end = Math.min(end, Math.max(atLow, atHigh));
  }
  if (start > end) return undefined;
  // End points are passed through unchanged, so that neighbours still join.
  const at = (share: number): Point =>
    share === 0
      ? from
      : share === 1
        ? to
        : [
            from[0] + share * (to[0] - from[0]),
            from[1] + share * (to[1] - from[1]),
          ];
  return [at(start), at(end)];
}
