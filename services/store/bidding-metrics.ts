/** What every tier that takes bids measures of its calls to the store. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { LATENCY_SECONDS, seriesOf } from "../runtime/series.ts";
import { UNAVAILABLE_REASONS } from "./outcomes.ts";

export type BiddingMetrics = ReturnType<typeof createBiddingMetrics>;

/** @param prefix of the tier: "gavel_gateway_" */
export function createBiddingMetrics(registry: Registry, prefix: string) {
  const registers = [registry];
  const latency = (name: string, help: string) =>
    new Histogram({ name: `${prefix}${name}`, help, buckets: [...LATENCY_SECONDS], registers });
  const unavailable = new Counter({
    name: `${prefix}bids_unavailable_total`,
    help: "Bids of which nothing was decided (outcome unavailable), by why.",
    labelNames: ["why"],
    registers,
  });
  return {
    unavailable: seriesOf(unavailable, "why", UNAVAILABLE_REASONS),
    storeUp: new Gauge({
      name: `${prefix}store_up`,
      help: "1 while every connection of the process to the store is ready.",
      registers,
    }),
    tokenKeysStale: new Gauge({
      name: `${prefix}token_keys_stale`,
      help: "1 while the key set of the tokens cannot be fetched: stale keys are used, for an hour at most.",
      registers,
    }),
    batchBids: new Histogram({
      name: `${prefix}batch_bids`,
      help: "Bids in one call to the store.",
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    }),
    batchWait: latency(
      "batch_wait_seconds",
      "How long the first bid of a batch waited for its call to the store.",
    ),
    storeCall: latency(
      "store_call_duration_seconds",
      "One call to the store that decides bids, answered or given up.",
    ),
  };
}
