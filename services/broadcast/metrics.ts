import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Traffic } from "./viewer.ts";

/** What this process tells Prometheus. No label names a lot or a bidder. */
export type Metrics = ReturnType<typeof createMetrics>;

/** What is read when somebody asks. */
export interface Observed {
  readonly traffic: Traffic;
  readonly sockets: () => number;
  readonly behind: () => number;
  readonly subscriptions: () => number;
}

export function createMetrics(
  registry: Registry,
  { traffic, sockets, behind, subscriptions }: Observed,
) {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `gavel_broadcast_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const total = (name: string, help: string, read: () => number) =>
    new Counter({
      name: `gavel_broadcast_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  const counter = <T extends string = never>(name: string, help: string, ...labelNames: T[]) =>
    new Counter({ name: `gavel_broadcast_${name}`, help, labelNames, registers });

  gauge("sockets", "Sockets held.", sockets);
  gauge("behind", "Sockets that get no events until their viewers have read what waits.", behind);
  gauge("subscriptions", "Lots watched, over all sockets.", subscriptions);
  total("frames_written_total", "Text frames written to sockets.", () => traffic.frames);
  total("written_bytes_total", "Bytes of text frames written to sockets.", () => traffic.bytes);
  total(
    "conflated_total",
    "Snapshots written in place of events that a slow reader did not get.",
    () => traffic.conflated,
  );
  return {
    closes: counter("closes_total", "Sockets closed by us, by reason.", "reason"),
    dead: counter("dead_total", "Sockets removed because nothing was heard of their viewer."),
    refused: counter("refused_total", "Sockets refused, by reason.", "reason"),
    resumes: counter(
      "resumes_total",
      "Resumed lots: recovered is every missed event, snapshot is not; behind is no answer but to ask again.",
      "result",
    ),
    refills: counter("refills_total", "Lots brought forward from the store, by result.", "result"),
    bids: counter("bids_total", "Bids placed over sockets, by outcome.", "outcome"),
    rejected: counter("rejected_messages_total", "Messages rejected, by reason.", "reason"),
    conflicts: counter("bid_conflicts_total", "Optimistic transactions that lost a race."),
    lag: new Histogram({
      name: "gavel_broadcast_feed_lag_seconds",
      help: "From an event, by the store's clock, to its arrival here.",
      buckets: [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
  };
}
