import { publishEntry } from "../../bus/entry.ts";
import type { Bus } from "../../bus/connect.ts";
import { isRefusedForSpace } from "../../bus/stream.ts";
import { SUBJECT_TEMPLATE } from "../../bus/subjects.ts";
import { traceparentOf } from "../../runtime/log.ts";
import type { Span, Tracing } from "../../runtime/tracing.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { type OutboxEntry, readOutbox } from "../../store/outbox.ts";
import { failing, PairFailure } from "./pipeline-failure.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import type { Progress } from "./progress.ts";
import type { Partition } from "./record.ts";
import type { Relayed } from "./relayed-positions.ts";
import { messageAttributes } from "./trace-archive.ts";

const READ_ENTRIES = 250;
export const READ_BLOCK_MS = 1_000;

/** Publishes that JetStream has not acknowledged yet. */
const MAX_IN_FLIGHT = 256;

export interface RelayTo {
  readonly of: Partition;
  /** A connection of its own: its reads block. */
  readonly reader: Store;
  readonly keys: Keys;
  readonly bus: Bus;
  readonly relayed: Relayed;
  readonly metrics: ArchivalMetrics;
  readonly tracing: Tracing | null;
  /** The stream's newest message: the next entry goes right behind it. */
  readonly lastSeq: number;
  /** How far it may run ahead of the archive. */
  readonly maxAheadBytes: number;
}

/**
 * Moves the outbox to JetStream from where `progress` stands, in order, until the signal aborts. Entries
 * are sent without waiting for each other; each says behind which message it must stand, so once one
 * fails all that follow are refused too.
 * @param fail takes what went wrong; the signal aborts then
 */
export async function relay(
  { of, reader, keys, bus, relayed, metrics, tracing, lastSeq, maxAheadBytes }: RelayTo,
  progress: Progress,
  fail: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let [seq, afterId] = [lastSeq, progress.relayedId];
  let inFlight = 0;
  let landed = () => {};

  const publish = async (entry: OutboxEntry, behind: number, after: string): Promise<void> => {
    const { id: outboxId, lotId, events } = entry;
    const startedMs = performance.now();
    const span = traced(tracing, of, entry);
    const traceparent = span ? traceparentOf(span) : entry.traceparent;
    let failure: Error | null = null;
    try {
      const message = { outboxId, afterId: after, lotId, events, traceparent };
      await publishEntry(bus, of.auctionUid, of.partition, message, behind);
      progress.relayed(outboxId);
      metrics.relayedEntries.inc();
      metrics.publishSeconds.observe((performance.now() - startedMs) / 1000);
      metrics.relayDelay.observe(outboxId);
    } catch (error) {
      failure = error as Error;
      if (isRefusedForSpace(error)) metrics.streamFull.inc();
      fail(new PairFailure("publish", (error as Error).message, error));
    } finally {
      if (span) tracing!.finish(span, {}, failure);
      inFlight--;
      landed();
    }
  };

  while (!signal.aborted) {
    await progress.room(maxAheadBytes, signal);
    if (signal.aborted) return;
    const read = readOutbox(reader, keys, afterId, { count: READ_ENTRIES, blockMs: READ_BLOCK_MS });
    for (const entry of await failing("store", read)) {
      while (inFlight >= MAX_IN_FLIGHT) await new Promise<void>((resolve) => (landed = resolve));
      if (signal.aborted) return;
      inFlight++;
      relayed.saw(entry.lotId, entry.events);
      progress.sending(entry.id, entry.events.length);
      void publish(entry, seq++, afterId);
      afterId = entry.id;
    }
  }
}

/** Null for most: where the call that recorded the entry was not traced. */
function traced(tracing: Tracing | null, of: Partition, entry: OutboxEntry): Span | null {
  if (tracing === null || entry.traceparent === null) return null;
  return tracing.follow(entry.traceparent, `send ${SUBJECT_TEMPLATE}`, "producer", {
    ...messageAttributes(of, entry.lotId, entry.id),
    "messaging.operation.type": "send",
    "messaging.operation.name": "publish",
  });
}
