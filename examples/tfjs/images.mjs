// Images of made-up identities. An identity is a few light and dark spots; every image of it is
// moved, turned, lit from another side, of another contrast, and noisy.

/** Width and height of an image. */
export const SIZE = 16;

const SPOTS = 5;

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Uniform in (−size, size). */
const around = (next, size) => (2 * next() - 1) * size;

/** Spots of an identity, in a square from −1 to 1. */
function spotsOf(identity) {
  const next = uniform(0x5b07 + identity * 7919);
  return Array.from({ length: SPOTS }, () => ({
    u: around(next, 0.7),
    v: around(next, 0.7),
    width: 0.15 + 0.2 * next(),
    light: next() < 0.5 ? -1 : 1,
  }));
}

/**
 * Draws an image of an identity, new in every call.
 *
 * @param next Uniform numbers for everything that is not the identity.
 * @param out SIZE × SIZE pixels to write.
 */
export function draw(identity, next, out) {
  const spots = spotsOf(identity);
  const angle = around(next, 0.25);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [left, up] = [around(next, 0.2), around(next, 0.2)];
  const contrast = 0.6 + 0.8 * next();
  const [side, height, level] = [1, 1, 1].map((most) => around(next, most));
  for (let row = 0; row < SIZE; row += 1) {
    for (let column = 0; column < SIZE; column += 1) {
      const x = (2 * column + 1) / SIZE - 1;
      const y = (2 * row + 1) / SIZE - 1;
      const u = cos * x + sin * y - left;
      const v = cos * y - sin * x - up;
      let value = 0;
      for (const spot of spots) {
        const distance = (u - spot.u) ** 2 + (v - spot.v) ** 2;
        value += spot.light * Math.exp(-distance / (2 * spot.width ** 2));
      }
      out[row * SIZE + column] =
        contrast * value + side * x + height * y + level + around(next, 0.2);
    }
  }
}

/** Images of the given identities, one after another: [N, SIZE, SIZE, 1]. */
export function drawAll(identities, next) {
  const pixels = SIZE * SIZE;
  const data = new Float32Array(identities.length * pixels);
  identities.forEach((identity, index) => {
    draw(identity, next, data.subarray(index * pixels, (index + 1) * pixels));
  });
  return data;
}
