/** Latencies as counts in buckets that grow by 5 %, which can be merged and are small to send. */

const GROWTH = 1.05;
const FIRST_MS = 0.1;

/** Sparse: bucket to count. */
export type Latencies = Record<number, number>;

export function addLatency(latencies: Latencies, ms: number): void {
  const bucket = ms <= FIRST_MS ? 0 : Math.ceil(Math.log(ms / FIRST_MS) / Math.log(GROWTH));
  latencies[bucket] = (latencies[bucket] ?? 0) + 1;
}

export function mergeLatencies(all: Iterable<Latencies>): Latencies {
  const merged: Latencies = {};
  for (const latencies of all) {
    for (const [bucket, count] of Object.entries(latencies)) {
      merged[Number(bucket)] = (merged[Number(bucket)] ?? 0) + count;
    }
  }
  return merged;
}

export const countOf = (latencies: Latencies): number =>
  Object.values(latencies).reduce((sum, count) => sum + count, 0);

/** A quantile in ms, at most 5 % too high; NaN without latencies. @param q 0 … 1 */
export function quantileOf(latencies: Latencies, q: number): number {
  let left = Math.ceil(countOf(latencies) * q);
  const buckets = Object.keys(latencies).map(Number);
  for (const bucket of buckets.sort((a, b) => a - b)) {
    left -= latencies[bucket]!;
    if (left <= 0) return FIRST_MS * GROWTH ** bucket;
  }
  return NaN;
}
