import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { createInternalErrors } from "../access/problem-edge.ts";
import type { ProblemCode } from "../access/problems.ts";
import { DELAY_SECONDS, LATENCY_SECONDS, seriesOf } from "../runtime/series.ts";
import { OUTCOMES, REFUSALS } from "../store/outcomes.ts";
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
const MESSAGE_OUTCOMES = ["ok", "refused", "failed"] as const;
export type MessageOutcome = (typeof MESSAGE_OUTCOMES)[number];

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

export function createMetrics(
  registry: Registry,
  { traffic, sockets, behind, subscriptions, waitingBids }: Observed,
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
  /** With all its series from the start. */
  const counterOf = <T extends string>(
    name: string,
    help: string,
    label: T,
    values: readonly string[],
  ) => {
    const all = counter(name, help, label);
    seriesOf(all, label, values);
    return all;
  };
  const latency = <T extends string = never>(name: string, help: string, ...labelNames: T[]) =>
    new Histogram({
      name: `gavel_broadcast_${name}`,
      help,
      labelNames,
      buckets: [...LATENCY_SECONDS],
      registers,
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
  const messages = latency(
    "message_duration_seconds",
    "Viewers' messages, from their arrival to the last answer.",
    "type",
    "outcome",
  );
  for (const type of [...CLIENT_MESSAGE_TYPES, "invalid"]) {
    for (const outcome of MESSAGE_OUTCOMES) messages.zero({ type, outcome });
  }
  return {
    internalErrors: createInternalErrors(registry, "gavel_broadcast_"),
    messages,
    closes: counterOf("closes_total", "Sockets closed by us, by reason.", "reason", CLOSES),
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
    unavailable: counterOf(
      "bids_unavailable_total",
      "Bids of which nothing was decided (outcome unavailable), by why.",
      "why",
      REFUSALS,
    ),
    rejected: counterOf(
      "rejected_messages_total",
      "Messages rejected, by reason.",
      "reason",
      REJECTIONS,
    ),
    conflicts: counter("bid_conflicts_total", "Optimistic transactions that lost a race."),
    storeUp: new Gauge({
      name: "gavel_broadcast_store_up",
      help: "1 while there is a connection to the store.",
      registers,
    }),
    batchBids: new Histogram({
      name: "gavel_broadcast_batch_bids",
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
    lag: new Histogram({
      name: "gavel_broadcast_feed_lag_seconds",
      help: "From an event, by the store's clock, to its arrival here.",
      buckets: [...DELAY_SECONDS],
      registers,
    }),
    fanOut: latency(
      "fan_out_duration_seconds",
      "From an event's arrival here until it is written to every socket that watches its lot.",
    ),
  };
}
