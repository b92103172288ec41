import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { createInternalErrors } from "../access/problem-edge.ts";
import { DELAY_SECONDS, LATENCY_SECONDS, seriesOf } from "../runtime/series.ts";
import { DEAD_LETTER_REASONS, RESTART_REASONS } from "./reasons.ts";

export const DEPENDENCIES = ["redis", "nats", "postgres"] as const;
export type Dependency = (typeof DEPENDENCIES)[number];

export type ArchivalMetrics = ReturnType<typeof createMetrics>;

export function createMetrics(registry: Registry) {
  return {
    internalErrors: createInternalErrors(registry, "gavel_archival_"),
    ...createCounters(registry),
    ...createHistograms(registry),
    ...createGauges(registry),
  };
}

function createCounters(registry: Registry) {
  const registers = [registry];
  const counter = (name: string, help: string) =>
    new Counter({ name: `gavel_archival_${name}`, help, registers });
  const counters = {
    relayedEntries: counter("relayed_entries_total", "Outbox entries that JetStream took."),
    streamFull: counter("stream_full_total", "Publishes that JetStream refused for lack of space."),
    streamsGivenUp: counter(
      "streams_given_up_total",
      "Streams that JetStream did not serve and archival deleted, to create them again from the outbox.",
    ),
    events: counter("events_total", "Events written to Postgres."),
    repeatedEvents: counter("repeated_events_total", "Events that Postgres already had."),
    conflicts: counter(
      "conflicts_total",
      "Events at a position where another event is archived. Must be 0.",
    ),
    restores: counter(
      "restores_total",
      "Times a Redis without the auction, or its tail, was restored.",
    ),
    regressions: counter(
      "regressions_total",
      "Times Redis came back with less than it had acknowledged. Must be 0.",
    ),
    losses: counter(
      "losses_total",
      "Times the outbox dropped entries before they were archived. Must be 0.",
    ),
    deadLetters: new Counter({
      name: "gavel_archival_dead_letters_total",
      help: "What could not be archived, by reason.",
      labelNames: ["reason"] as const,
      registers,
    }),
    pipelineRestarts: new Counter({
      name: "gavel_archival_pair_restarts_total",
      help: "Times the pipeline restarted at the watermark, by reason.",
      labelNames: ["reason"] as const,
      registers,
    }),
  };
  // Each series exists from the start: a rate misses the first 1 of a series that begins with it.
  for (const reason of DEAD_LETTER_REASONS) counters.deadLetters.inc({ reason }, 0);
  for (const reason of RESTART_REASONS) counters.pipelineRestarts.inc({ reason }, 0);
  return counters;
}

function createHistograms(registry: Registry) {
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: readonly number[]) =>
    new Histogram({ name: `gavel_archival_${name}`, help, buckets: [...buckets], registers });
  const answers = new Histogram({
    name: "gavel_archival_dependency_answer_seconds",
    help: "How long a store took to answer a probe; each store is probed once a second.",
    labelNames: ["dependency"] as const,
    buckets: [...LATENCY_SECONDS],
    registers,
  });
  /** The difference between Redis's clock and ours; null before it was read once. */
  const clock = { offsetMs: null as number | null };
  return {
    publishSeconds: histogram(
      "publish_duration_seconds",
      "One outbox entry, from its publish until JetStream has it on disk.",
      LATENCY_SECONDS,
    ),
    batchSeconds: histogram("batch_seconds", "One batch's transaction.", DELAY_SECONDS),
    batchEvents: histogram(
      "batch_events",
      "Events in one batch's transaction.",
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 20_000],
    ),
    relayDelay: delayFrom(
      clock,
      histogram(
        "relay_delay_seconds",
        "From an event, by Redis's clock, until JetStream has it.",
        DELAY_SECONDS,
      ),
    ),
    archiveDelay: delayFrom(
      clock,
      histogram(
        "archive_delay_seconds",
        "From an event, by Redis's clock, until Postgres has committed it.",
        DELAY_SECONDS,
      ),
    ),
    answerSeconds: seriesOf(answers, "dependency", DEPENDENCIES),
    clock,
  };
}

function createGauges(registry: Registry) {
  const registers = [registry];
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `gavel_archival_${name}`, help, registers });
  const storeRefuses = new Gauge({
    name: "gavel_archival_store_refuses",
    help: "1 while a store answers and refuses: a person must change something. Log and state of archival give the reason.",
    labelNames: ["dependency"] as const,
    registers,
  });
  for (const dependency of DEPENDENCIES) storeRefuses.set({ dependency }, 0);
  return {
    storeRefuses,
    leaseHeld: gauge("lease_held", "1 where this process relays and archives."),
    storeLost: gauge(
      "store_lost",
      "1 while Redis lacks an auction that the archive has events of.",
    ),
    pendingBytes: gauge("outbox_pending_bytes", "Events in the outbox that are not archived."),
    maxPendingBytes: gauge(
      "outbox_max_bytes",
      "Bytes of unarchived events at which bids are refused.",
    ),
    outboxEntries: gauge("outbox_entries", "Entries in the outbox, archived ones included."),
    archiveLagSeconds: gauge("archive_lag_seconds", "Age of the oldest event not archived."),
    relayLagSeconds: gauge(
      "relay_lag_seconds",
      "Age of the oldest event not relayed: what a destroyed Redis volume would cost now.",
    ),
    unrelayedEvents: gauge(
      "unrelayed_events",
      "Events not relayed, counted up to 1,000 outbox entries: a destroyed Redis volume loses them.",
    ),
    archiveLagEntries: gauge("archive_lag_entries", "Entries relayed and not archived."),
    watermarkAgeSeconds: gauge("watermark_age_seconds", "Age of the newest archived event."),
    overdueSeconds: gauge(
      "clock_overdue_seconds",
      "How long the next lot to be opened or closed has been due.",
    ),
  };
}

/** Observes the age of an outbox entry, from the time in its id. It needs Redis's clock. */
function delayFrom(clock: { readonly offsetMs: number | null }, ages: Histogram) {
  return {
    observe(outboxId: string): void {
      if (clock.offsetMs === null) return;
      const atMs = Number(outboxId.split("-", 1)[0]);
      ages.observe(Math.max(0, performance.now() + clock.offsetMs - atMs) / 1000);
    },
  };
}
