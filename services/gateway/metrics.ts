import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Placement } from "../store/place-bids.ts";

/** Every outcome has its series from the start, so that a rate can be taken of the first one. */
const OUTCOMES: Record<Placement["outcome"], true> = {
  accepted: true,
  too_low: true,
  too_high: true,
  not_open: true,
  closed: true,
  withdrawn: true,
  suspended: true,
  unknown_lot: true,
  key_reused: true,
  unavailable: true,
  unknown: true,
};

const LATENCY_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics(registry: Registry, waitingBids: () => number) {
  const registers = [registry];
  const bids = new Counter({
    name: "gavel_gateway_bids_total",
    help: "Bids that reached the batcher, by what became of them.",
    labelNames: ["outcome"],
    registers,
  });
  const requests = new Histogram({
    name: "gavel_gateway_request_duration_seconds",
    help: "HTTP requests, from their headers to the end of the answer.",
    labelNames: ["method", "route", "status"],
    buckets: LATENCY_SECONDS,
    registers,
  });
  new Gauge({
    name: "gavel_gateway_bids_waiting",
    help: "Bids that wait for their batch to be sent.",
    registers,
    collect() {
      this.set(waitingBids());
    },
  });
  const clockLateness = new Histogram({
    name: "gavel_gateway_clock_lateness_seconds",
    help: "How long after its time, by Redis's clock, a lot was opened or closed by this clock.",
    labelNames: ["change"],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const strategyEvents = new Counter({
    name: "gavel_gateway_optimistic_batches_total",
    help: "Optimistic batches that lost a race (conflict) or were left to the script (script).",
    labelNames: ["event"],
    registers,
  });
  return {
    bid: childrenOf(OUTCOMES, (outcome) => bids.labels({ outcome })),
    requests: requestTimers(requests),
    batchBids: new Histogram({
      name: "gavel_gateway_batch_bids",
      help: "Bids in one call to the store.",
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers,
    }),
    storeCall: new Histogram({
      name: "gavel_gateway_store_call_duration_seconds",
      help: "One call to the store that decides bids, answered or given up.",
      buckets: LATENCY_SECONDS,
      registers,
    }),
    storeUp: new Gauge({
      name: "gavel_gateway_store_up",
      help: "1 while there is a connection to the store.",
      registers,
    }),
    clockHeld: new Gauge({
      name: "gavel_gateway_clock_held",
      help: "1 while this gateway is the one that opens and closes lots.",
      registers,
    }),
    clockLateness: {
      open: clockLateness.labels({ change: "open" }),
      close: clockLateness.labels({ change: "close" }),
    },
    optimistic: {
      conflict: strategyEvents.labels({ event: "conflict" }),
      script: strategyEvents.labels({ event: "script" }),
    },
  };
}

function childrenOf<Name extends string, Child>(
  names: Record<Name, true>,
  child: (name: Name) => Child,
): Record<Name, Child> {
  const all = (Object.keys(names) as Name[]).map((name) => [name, child(name)]);
  return Object.fromEntries(all) as Record<Name, Child>;
}

/** Looks a series up by three nested keys instead of building a label object for every request. */
function requestTimers(histogram: Histogram<"method" | "route" | "status">) {
  const series = new Map<string, Map<string, Map<number, Histogram.Internal<string>>>>();
  return {
    observe(method: string, route: string, status: number, seconds: number): void {
      const byRoute = getOrMake(series, method, () => new Map());
      const byStatus = getOrMake(byRoute, route, () => new Map());
      getOrMake(byStatus, status, () =>
        histogram.labels({ method, route, status: String(status) }),
      ).observe(seconds);
    },
  };
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
