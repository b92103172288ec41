/** All metrics of the operator: those of the Kubernetes machinery, and those about Auctions. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { createKubeMetrics } from "./kube/metrics.ts";

export type OperatorMetrics = ReturnType<typeof createOperatorMetrics>;

export function createOperatorMetrics(registry: Registry) {
  const registers = [registry];
  return {
    ...createKubeMetrics(registry),
    droppedEvents: new Counter({
      name: "gavel_operator_events_dropped_total",
      help: "Kubernetes events that were not written: too many, or refused.",
      registers,
    }),
    auctionPhase: new Gauge({
      name: "auction_phase",
      help: "Auctions in each phase.",
      labelNames: ["phase"] as const,
      registers,
    }),
    auctionDrainSeconds: new Histogram({
      name: "auction_drain_seconds",
      help: "From an auction's deletion to the removal of its finalizer.",
      buckets: [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800],
      registers,
    }),
  };
}
