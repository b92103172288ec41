import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { createInternalErrors } from "../access/problem-edge.ts";
import type { ProblemCode } from "../access/problems.ts";
import { LATENCY_SECONDS, seriesOf } from "../runtime/series.ts";
import { createBiddingMetrics } from "../store/bidding-metrics.ts";
import { OUTCOMES } from "../store/outcomes.ts";

/** Codes of `refuseConnection`: answers on a connection that carries no HTTP request. */
const UNREADABLE = ["invalid", "timeout", "headers_too_large"] as const satisfies ProblemCode[];

/** The methods of our routes; all others share one series. */
const METHODS = new Set(["GET", "HEAD", "POST", "OPTIONS"]);

/** The route of bids. Its series exist from the start: a rate misses the first failure of a new series. */
export const BID_ROUTE = "/v1/lots/:lotId/bids";
const BID_STATUSES = ["201", "409", "500", "503"];

export type Metrics = ReturnType<typeof createMetrics>;

/** Values that are read at each scrape. */
interface Observed {
  readonly waitingBids: () => number;
  /** Open connections of the public port. */
  readonly connections: () => number;
}

/** No label names a lot or a bidder. */
export function createMetrics(registry: Registry, observed: Observed) {
  const registers = [registry];
  observeAtScrape(registry, observed);
  /** A counter with all its series from the start. */
  const counterOf = <Name extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly Name[],
  ) => {
    const all = new Counter({
      name: `gavel_gateway_${name}`,
      help,
      labelNames: [label],
      registers,
    });
    return seriesOf(all, label, values);
  };
  const clockLateness = new Histogram({
    name: "gavel_gateway_clock_lateness_seconds",
    help: "Delay between a lot's opening or closing time and its opening or closing, by Redis's clock.",
    labelNames: ["change"] as const,
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  return {
    ...createBiddingMetrics(registry, "gavel_gateway_"),
    bid: counterOf("bids_total", "Bids that reached the batcher, by outcome.", "outcome", OUTCOMES),
    unreadable: counterOf(
      "unreadable_requests_total",
      "Input on a connection that was no HTTP request, by the code of the answer.",
      "code",
      UNREADABLE,
    ),
    internalErrors: createInternalErrors(registry, "gavel_gateway_"),
    requests: requestTimers(registry),
    clockHeld: new Gauge({
      name: "gavel_gateway_clock_held",
      help: "1 while this gateway holds the lease of the lot clock: it opens and closes lots.",
      registers,
    }),
    clockLateness: seriesOf(clockLateness, "change", ["open", "close"]),
    optimistic: counterOf(
      "optimistic_batches_total",
      "Optimistic batches that lost a race (conflict) or were decided by the script instead (script).",
      "event",
      ["conflict", "script"],
    ),
  };
}

function observeAtScrape(registry: Registry, { waitingBids, connections }: Observed): void {
  new Gauge({
    name: "gavel_gateway_bids_waiting",
    help: "Bids that wait for their batch to be sent.",
    registers: [registry],
    collect() {
      this.set(waitingBids());
    },
  });
  new Gauge({
    name: "gavel_gateway_connections",
    help: "Open HTTP connections.",
    registers: [registry],
    collect() {
      this.set(connections());
    },
  });
}

/** Counts input that was no HTTP request. @param code of the problem it was answered with */
export function countUnreadable({ unreadable }: Metrics, code: ProblemCode): void {
  const known = UNREADABLE.find((name) => name === code);
  if (known === undefined) throw new Error(`not a code of refuseConnection: ${code}`);
  unreadable[known].inc();
}

/** Finds a series by three nested keys: building a label object for every request would cost more. */
function requestTimers(registry: Registry) {
  const histogram = new Histogram({
    name: "gavel_gateway_request_duration_seconds",
    help: "HTTP requests, from their headers to the end of the answer.",
    labelNames: ["method", "route", "status"] as const,
    buckets: [...LATENCY_SECONDS],
    registers: [registry],
  });
  for (const status of BID_STATUSES) histogram.zero({ method: "POST", route: BID_ROUTE, status });
  const series = new Map<string, Map<string, Map<number, Histogram.Internal<string>>>>();
  return {
    /** @param route as it was registered, never the URL of a request */
    observe(method: string, route: string, status: number, seconds: number): void {
      const known = METHODS.has(method) ? method : "other";
      const byRoute = getOrMake(series, known, () => new Map());
      const byStatus = getOrMake(byRoute, route, () => new Map());
      getOrMake(byStatus, status, () =>
        histogram.labels({ method: known, route, status: String(status) }),
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
