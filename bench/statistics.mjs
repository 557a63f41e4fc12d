/** Value below which a share of the sorted samples lies, interpolated. */
function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Median and spread of timings. */
export function summarize(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    samples: sorted.length,
    median: quantile(sorted, 0.5),
    min: sorted[0],
    max: sorted[sorted.length - 1],
    interquartileRange: quantile(sorted, 0.75) - quantile(sorted, 0.25),
  };
}

/**
 * One timing over another, from samples taken in turns: the ratio of each pair, so that noise which
 * met both cancels.
 */
export function pairedRatio(samples, baseline) {
  const pairs = Math.min(samples.length, baseline.length);
  return summarize(
    samples.slice(0, pairs).map((value, index) => value / baseline[index]),
  );
}
