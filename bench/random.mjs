/** Uniform numbers in (0, 1) from a seed: the same on every machine (mulberry32). */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

/** Fills an array with standard normal numbers (Box and Muller). */
export function fillNormal(random, array) {
  for (let index = 0; index < array.length; index += 2) {
    const radius = Math.sqrt(-2 * Math.log(random()));
    const angle = 2 * Math.PI * random();
    array[index] = radius * Math.cos(angle);
    if (index + 1 < array.length) array[index + 1] = radius * Math.sin(angle);
  }
}
