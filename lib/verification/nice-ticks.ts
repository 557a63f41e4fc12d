/** A labelled position of an axis. */
interface Tick {
  readonly at: number;
  readonly label: string;
}

/**
 * About `count` multiples of 1, 2 or 5 times a power of ten within [low, high].
 *
 * @param least Smallest step; 1 for whole numbers.
 * @param unit What a label of 1 stands for; 0.01 for percentages.
 */
export function niceTicks(
  low: number,
  high: number,
  count: number,
  { least = 0, unit = 1 } = {},
): Tick[] {
  const wanted = Math.max((high - low) / count, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step =
    [1, 2, 5, 10]
      .map((factor) => factor * power)
      .find((size) => size >= wanted * (1 - 1e-9)) ?? 10 * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const at = Number(((first + index) * step).toPrecision(12));
    const label = String(Number((at / unit).toPrecision(12)));
    return { at, label: label.replace('-', '−') };
  });
}

/** Multiples of 1, 2 and 5 (of 1 alone over three decades) within [low, high], both > 0. */
export function logarithmicTicks(low: number, high: number): number[] {
  const factors = high / low > 1000 ? [1] : [1, 2, 5];
  const [first, last] = [low, high].map((end) => Math.floor(Math.log10(end)));
  return Array.from({ length: last! - first! + 1 }, (_, index) => index)
    .flatMap((index) =>
      factors.map((factor) => Number(`${factor}e${first! + index}`)),
    )
    .filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
}
