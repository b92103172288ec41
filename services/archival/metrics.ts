import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { DEAD_LETTER_REASONS } from "./dead-letters.ts";
import { RESTART_REASONS } from "./pair-failure.ts";

/** What the gauges are read from when somebody asks. */
export interface Reading {
  readonly pendingBytes: number;
  readonly outboxEntries: number;
  readonly unarchivedMs: number;
  readonly unrelayedMs: number;
  readonly unrelayedEvents: number;
  readonly betweenEntries: number;
  readonly watermarkAgeMs: number | null;
}

export type ArchivalMetrics = ReturnType<typeof createMetrics>;

export function createMetrics(registry: Registry) {
  const registers = [registry];
  const counter = (name: string, help: string) =>
    new Counter({ name: `gavel_archival_${name}`, help, registers });
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `gavel_archival_${name}`, help, registers });

  const metrics = {
    relayedEntries: counter("relayed_entries_total", "Outbox entries that JetStream took."),
    streamFull: counter("stream_full_total", "Publishes that JetStream refused for lack of space."),
    events: counter("events_total", "Events written to Postgres."),
    repeatedEvents: counter("repeated_events_total", "Events that Postgres already had."),
    conflicts: counter("conflicts_total", "Events whose seq another event has. Must be 0."),
    restores: counter(
      "restores_total",
      "Times a Redis without the auction, or its tail, was restored.",
    ),
    regressions: counter(
      "regressions_total",
      "Times Redis came back with less than it had acknowledged. Must be 0.",
    ),
    losses: counter("losses_total", "Times the outbox lacked what Postgres lacks. Must be 0."),
    deadLetters: new Counter({
      name: "gavel_archival_dead_letters_total",
      help: "What could not be archived, by reason.",
      labelNames: ["reason"] as const,
      registers,
    }),
    pairRestarts: new Counter({
      name: "gavel_archival_pair_restarts_total",
      help: "Times relay and archive began anew at Postgres's watermark, by reason.",
      labelNames: ["reason"] as const,
      registers,
    }),
    batchSeconds: new Histogram({
      name: "gavel_archival_batch_seconds",
      help: "One batch's transaction.",
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers,
    }),
    leaseHeld: gauge("lease_held", "1 where this process relays and archives."),
    storeLost: gauge(
      "store_lost",
      "1 while Redis lacks an auction that the archive has events of.",
    ),
    pendingBytes: gauge("outbox_pending_bytes", "Events in the outbox that are not archived."),
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
  };
  // Series exist from the start: a rate over a counter that appears with its first 1 misses it.
  for (const reason of DEAD_LETTER_REASONS) metrics.deadLetters.inc({ reason }, 0);
  for (const reason of RESTART_REASONS) metrics.pairRestarts.inc({ reason }, 0);
  return metrics;
}

export function showReading(metrics: ArchivalMetrics, reading: Reading): void {
  metrics.pendingBytes.set(reading.pendingBytes);
  metrics.outboxEntries.set(reading.outboxEntries);
  metrics.archiveLagSeconds.set(reading.unarchivedMs / 1000);
  metrics.relayLagSeconds.set(reading.unrelayedMs / 1000);
  metrics.unrelayedEvents.set(reading.unrelayedEvents);
  metrics.archiveLagEntries.set(reading.betweenEntries);
  if (reading.watermarkAgeMs !== null) {
    metrics.watermarkAgeSeconds.set(reading.watermarkAgeMs / 1000);
  }
}
