// The statistics of `scripts/bench --against`: the median of paired ratios, its interval, and the
// verdict on a gate. Pure functions.

/** A pair of equal commits has this ratio. Larger is worse: a ratio is "now / before". */
export interface Interval {
  low: number;
  high: number;
  /** The probability that the interval contains the true median. */
  coverage: number;
}

export const confidence = 0.99;

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("median: expected at least one value, got none");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * The distribution-free interval of the median by order statistics (the inverted sign test): from
 * the k-th smallest to the k-th largest value. A value lies on either side of the true median with
 * probability 1/2, so the interval misses it with probability 2 P(Binomial(n, 1/2) < k). The result
 * has the largest k that covers at least `wanted`. It assumes independent values, no distribution.
 *
 * Fewer than 8 values cannot cover 99 %. The result is then their range, with the coverage it has.
 */
export function medianInterval(values: readonly number[], wanted = confidence): Interval {
  if (values.length === 0) throw new Error("interval: expected at least one value, got none");
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  let rank = 1;
  while (2 * (rank + 1) <= count && coverage(count, rank + 1) >= wanted) rank++;
  return { low: sorted[rank - 1]!, high: sorted[count - rank]!, coverage: coverage(count, rank) };
}

/** Of the interval from the `rank`-th smallest to the `rank`-th largest of `count` values. */
function coverage(count: number, rank: number): number {
  let below = 0;
  let probability = 0.5 ** count; // of exactly i values below the median
  for (let i = 0; i < rank; i++) {
    below += probability;
    probability *= (count - i) / (i + 1);
  }
  return 1 - 2 * below;
}

/** open: the interval contains the gate. More pairs narrow it. */
export type Verdict = "met" | "open" | "missed";

export function judge(interval: { low: number; high: number }, gate: number): Verdict {
  if (interval.high <= gate) return "met";
  return interval.low > gate ? "missed" : "open";
}
