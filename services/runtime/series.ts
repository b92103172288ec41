/** Histogram buckets that all tiers share, and metric series that exist from the start. */

/** For what a bidder or a viewer waits for: 1 ms to 5 s, with the promised 50 ms as a boundary. */
export const LATENCY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
] as const;

/** For background work, which may wait for an unreachable store. */
export const DELAY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
] as const;

/** A counter or histogram of prom-client. `labels()` alone exports no series. */
interface Labelled<Label extends string, Child> {
  labels(labels: Record<Label, string>): Child;
  inc?(labels: Record<Label, string>, value: number): void;
  zero?(labels: Record<Label, string>): void;
}

/**
 * Creates one series for each name of a closed set, at 0: a rate over a counter that first appears as 1
 * misses that 1, and no name from outside can become a label.
 */
export function seriesOf<Name extends string, Label extends string, Child>(
  metric: Labelled<Label, Child>,
  label: Label,
  names: readonly Name[],
): Readonly<Record<Name, Child>> {
  const all = names.map((name) => {
    const labels = { [label]: name } as unknown as Record<Label, string>;
    metric.inc?.(labels, 0);
    metric.zero?.(labels);
    return [name, metric.labels(labels)];
  });
  return Object.fromEntries(all) as Record<Name, Child>;
}
