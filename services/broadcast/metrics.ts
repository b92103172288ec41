import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { createInternalErrors } from "../access/problem-edge.ts";
import type { ProblemCode } from "../access/problems.ts";
import { DELAY_SECONDS, LATENCY_SECONDS, seriesOf } from "../runtime/series.ts";
import { createBiddingMetrics } from "../store/bidding-metrics.ts";
import { OUTCOMES } from "../store/outcomes.ts";
import { CLIENT_MESSAGE_TYPES, CLOSE_CODES, type CloseReason } from "./protocol.ts";
import type { GapFillResult } from "./gap-fill.ts";
import type { Traffic } from "./viewer.ts";

/** The metrics of this tier. No label names a lot or a bidder. */
export type Metrics = ReturnType<typeof createMetrics>;

/** Values that are read at each scrape. */
interface Observed {
  readonly traffic: Traffic;
  readonly sockets: () => number;
  readonly behind: () => number;
  readonly subscriptions: () => number;
  /** Bids in the batcher. */
  readonly waitingBids: () => number;
}

/** Outcomes of a viewer's message; `failed`: our failure. */
const MESSAGE_RESULTS = ["ok", "refused", "failed"] as const;
export type MessageResult = (typeof MESSAGE_RESULTS)[number];

/** Outcomes of bids that do not reach the batcher. */
const REFUSED_BIDS = [
  "invalid",
  "unauthenticated",
  "forbidden",
  "internal",
] as const satisfies ProblemCode[];

const REFUSED_SOCKETS = ["origin", "full", "draining"] as const;

const CLOSES = [...(Object.keys(CLOSE_CODES) as CloseReason[]), "connection_lost"] as const;
const RESUMES = ["recovered", "snapshot", "behind"] as const;
const REJECTIONS = ["invalid", "unauthenticated", "too_many_lots"] as const;
const GAP_FILLS: readonly GapFillResult[] = [
  "events",
  "added",
  "reset",
  "refreshed",
  "kept",
  "unknown_lot",
];

export function createMetrics(registry: Registry, observed: Observed) {
  const registers = [registry];
  observeAtScrape(registry, observed);
  /** A counter with all its series from the start. */
  const counterOf = (name: string, help: string, label: string, values: readonly string[]) => {
    const all = new Counter({
      name: `gavel_broadcast_${name}`,
      help,
      labelNames: [label],
      registers,
    });
    seriesOf(all, label, values);
    return all;
  };
  const counter = (name: string, help: string) =>
    new Counter({ name: `gavel_broadcast_${name}`, help, registers });
  return {
    ...createBiddingMetrics(registry, "gavel_broadcast_"),
    internalErrors: createInternalErrors(registry, "gavel_broadcast_"),
    messages: messageDurations(registry),
    closes: counterOf(
      "closes_total",
      "Sockets closed before the viewer closed them, by reason.",
      "reason",
      CLOSES,
    ),
    dead: counter(
      "dead_total",
      "Sockets removed because their viewer was silent from one ping to the next.",
    ),
    refused: counterOf("refused_total", "Sockets refused, by reason.", "reason", REFUSED_SOCKETS),
    resumes: counterOf(
      "resumes_total",
      "Resumed lots: recovered (every missed event was sent), snapshot (not every one), behind (this process lacks events that the viewer has; it was told to subscribe again).",
      "result",
      RESUMES,
    ),
    gapFills: counterOf(
      "refills_total",
      "Gap fills: lots brought forward from the store, by result.",
      "result",
      GAP_FILLS,
    ),
    bids: counterOf("bids_total", "Bids placed over sockets, by outcome.", "outcome", [
      ...OUTCOMES,
      ...REFUSED_BIDS,
    ]),
    rejected: counterOf(
      "rejected_messages_total",
      "Messages rejected, by reason.",
      "reason",
      REJECTIONS,
    ),
    conflicts: counter("bid_conflicts_total", "Optimistic transactions that lost a race."),
    lag: new Histogram({
      name: "gavel_broadcast_feed_lag_seconds",
      help: "From an event, by the store's clock, to its arrival here.",
      buckets: [...DELAY_SECONDS],
      registers,
    }),
    fanOut: new Histogram({
      name: "gavel_broadcast_fan_out_duration_seconds",
      help: "From an event's arrival here until it is written to every socket that watches its lot.",
      buckets: [...LATENCY_SECONDS],
      registers,
    }),
  };
}

/** Values that this process keeps anyway: they are read at each scrape. */
function observeAtScrape(registry: Registry, observed: Observed): void {
  const { traffic, sockets, behind, subscriptions, waitingBids } = observed;
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
  gauge("sockets", "Sockets held: the viewers of this process.", sockets);
  gauge(
    "behind",
    "Sockets that get no events until their viewers have read their backlog.",
    behind,
  );
  gauge("subscriptions", "Subscriptions to lots, over all sockets.", subscriptions);
  gauge("bids_waiting", "Bids that wait for their batch to be sent.", waitingBids);
  total("frames_written_total", "Text frames written to sockets.", () => traffic.frames);
  total("written_bytes_total", "Bytes of text frames written to sockets.", () => traffic.bytes);
  total(
    "conflated_total",
    "Snapshots written in place of events that a slow reader did not get.",
    () => traffic.conflated,
  );
}

function messageDurations(registry: Registry) {
  const messages = new Histogram({
    name: "gavel_broadcast_message_duration_seconds",
    help: "Viewers' messages, from their arrival to the last answer.",
    labelNames: ["type", "outcome"] as const,
    buckets: [...LATENCY_SECONDS],
    registers: [registry],
  });
  for (const type of [...CLIENT_MESSAGE_TYPES, "invalid"]) {
    for (const outcome of MESSAGE_RESULTS) messages.zero({ type, outcome });
  }
  return messages;
}
