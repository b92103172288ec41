/** The first half of the pipeline: outbox → JetStream. */
import { classOf } from "../../access/error-class.ts";
import { publishEntry } from "../../bus/entry.ts";
import type { Bus } from "../../bus/connect.ts";
import { isRefusedForSpace } from "../../bus/stream.ts";
import { SUBJECT_TEMPLATE } from "../../bus/subjects.ts";
import { traceparentOf } from "../../runtime/log.ts";
import type { Span, Tracing } from "../../runtime/tracing.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { type OutboxEntry, readOutbox } from "../../store/outbox.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import { failing, PipelineFailure } from "./pipeline-failure.ts";
import type { Progress } from "./progress.ts";
import type { RelayedPositions } from "./relayed-positions.ts";
import { messageAttributes } from "./trace-archive.ts";

const READ_ENTRIES = 250;
export const READ_BLOCK_MS = 1_000;

/** Publishes that JetStream has not acknowledged yet. */
const MAX_IN_FLIGHT = 256;

interface RelayDependencies {
  readonly auctionUid: string;
  /** A connection of its own, because its reads block. */
  readonly reader: Store;
  readonly keys: Keys;
  readonly bus: Bus;
  readonly relayedPositions: RelayedPositions;
  readonly metrics: ArchivalMetrics;
  readonly tracing: Tracing | null;
  /** The newest message of the stream: the next entry goes right after it. */
  readonly lastSeq: number;
  /** How far the relay may run ahead of the archive. */
  readonly maxAheadBytes: number;
}

/**
 * Publishes the outbox to JetStream from `progress.relayedId` on, in order, until the signal aborts. Entries
 * are published without waiting for each other. Each names the message that must be right before it, so once
 * one fails JetStream refuses all that follow.
 * @param fail is called with the error of a publish; it must abort the signal
 */
export async function relayEntries(
  dependencies: RelayDependencies,
  progress: Progress,
  fail: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const { reader, keys, relayedPositions, lastSeq, maxAheadBytes } = dependencies;
  let [seq, afterId] = [lastSeq, progress.relayedId];
  let inFlight = 0;
  let onAcknowledged = () => {};

  const publishInOrder = async (entry: OutboxEntry, previousSeq: number, previousId: string) => {
    const failure = await publish(dependencies, entry, previousSeq, previousId).catch(
      (defect: unknown) => defect,
    );
    if (failure === null) progress.relayed(entry.id);
    else fail(failure);
    inFlight--;
    onAcknowledged();
  };

  while (!signal.aborted) {
    await progress.waitForRoom(maxAheadBytes, signal);
    if (signal.aborted) return;
    const read = readOutbox(reader, keys, afterId, { count: READ_ENTRIES, blockMs: READ_BLOCK_MS });
    for (const entry of await failing("store", read)) {
      while (inFlight >= MAX_IN_FLIGHT) {
        await new Promise<void>((resolve) => (onAcknowledged = resolve));
      }
      if (signal.aborted) return;
      inFlight++;
      relayedPositions.record(entry.lotId, entry.events);
      progress.sending(entry.id, Buffer.byteLength(entry.events));
      void publishInOrder(entry, seq++, afterId);
      afterId = entry.id;
    }
  }
}

/** @returns why JetStream did not store the entry; null if it did. @throws a defect */
async function publish(
  { auctionUid, bus, metrics, tracing }: RelayDependencies,
  entry: OutboxEntry,
  previousSeq: number,
  previousId: string,
): Promise<PipelineFailure | null> {
  const { id: outboxId, lotId, events } = entry;
  const startedMs = performance.now();
  const span = startSpan(tracing, auctionUid, entry);
  const traceparent = span ? traceparentOf(span) : entry.traceparent;
  let failure: PipelineFailure | null = null;
  try {
    const message = { outboxId, afterId: previousId, lotId, events, traceparent };
    await publishEntry(bus, auctionUid, message, previousSeq);
    metrics.relayedEntries.inc();
    metrics.publishSeconds.observe((performance.now() - startedMs) / 1000);
    metrics.relayDelay.observe(outboxId);
  } catch (error) {
    if (isRefusedForSpace(error)) metrics.streamFull.inc();
    if (classOf(error) === "defect") throw error;
    failure = new PipelineFailure("publish", (error as Error).message, error);
  }
  if (span) tracing!.finish(span, {}, failure);
  return failure;
}

/** Null for an entry whose script call was not traced: most are not. */
function startSpan(tracing: Tracing | null, auctionUid: string, entry: OutboxEntry): Span | null {
  if (tracing === null || entry.traceparent === null) return null;
  return tracing.follow(entry.traceparent, `send ${SUBJECT_TEMPLATE}`, "producer", {
    ...messageAttributes(auctionUid, entry.lotId, entry.id),
    "messaging.operation.type": "send",
    "messaging.operation.name": "publish",
  });
}
