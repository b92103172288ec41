/** What the metrics of all processes have in common: their buckets, and series that exist from the start. */

/** Of whatever a bidder or a viewer waits for: 1 ms to 5 s, with the promised 50 ms as an edge. */
export const LATENCY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
] as const;

/** Of what runs behind an auction, and may wait for a store that is away. */
export const DELAY_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
] as const;

/** A counter or histogram of prom-client's: `labels()` alone makes no series that is shown. */
interface Labelled<Label extends string, Child> {
  labels(labels: Record<Label, string>): Child;
  inc?(labels: Record<Label, string>, value: number): void;
  zero?(labels: Record<Label, string>): void;
}

/**
 * One series for each name of a closed set, made now: a rate over a counter that appears with its first 1
 * misses it, and no name from outside becomes a label.
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
