/** Traces a batch: a span for each message whose sender was traced, and one span for the insert of them all. */
import type { Delivery } from "../../bus/entry.ts";
import { PARTITION, SUBJECT_TEMPLATE, subjectOf } from "../../bus/subjects.ts";
import type { Failure, Tracing } from "../../runtime/tracing.ts";
import type { Batch, Entry } from "../postgres/batch.ts";

/** At most so many bid ids go into one span; an entry may hold the events of 256 bids. */
const BIDS_MAX = 32;

/** The attributes that the spans of relay and archive share. */
export function messageAttributes(auctionUid: string, lotId: string, outboxId: string) {
  return {
    "messaging.system": "nats",
    "messaging.destination.name": subjectOf(auctionUid, PARTITION, lotId),
    "messaging.destination.template": SUBJECT_TEMPLATE,
    "messaging.message.id": outboxId,
    "gavel.lot.id": lotId,
  };
}

/**
 * Starts the spans. Rows have no trace ids: `events.outbox_id` is the span's `messaging.message.id`, and
 * `bids.bid_id` is one of its `gavel.bid.ids`.
 * @returns a function that ends the spans, for when the batch is archived or failed; null if nothing is traced
 */
export function traceBatch(
  tracing: Tracing | null,
  auctionUid: string,
  deliveries: readonly Delivery[],
  { entries }: Batch,
): ((failure: Failure) => void) | null {
  if (tracing === null) return null;
  const traced = new Map(
    deliveries.flatMap(({ outboxId, traceparent }) =>
      traceparent === null || outboxId === null ? [] : [[outboxId, traceparent] as const],
    ),
  );
  if (traced.size === 0) return null;
  const spans = entries.flatMap((entry) => {
    const traceparent = traced.get(entry.outboxId) ?? null;
    const span = tracing.follow(traceparent, `process ${SUBJECT_TEMPLATE}`, "consumer", {
      ...messageAttributes(auctionUid, entry.lotId, entry.outboxId),
      "messaging.operation.type": "process",
      "messaging.operation.name": "process",
      "gavel.bid.ids": bidIdsOf(entry),
    });
    return span ?? [];
  });
  if (spans.length === 0) return null;
  const insert = tracing.shared("INSERT events", spans, {
    "db.system.name": "postgresql",
    "db.operation.name": "INSERT",
    "db.collection.name": "events",
    "db.operation.batch.size": entries.reduce((sum, { events }) => sum + events.length, 0),
  });
  return (failure) => {
    insert.end(failure);
    for (const span of spans) tracing.finish(span, {}, failure);
  };
}

function bidIdsOf({ events }: Entry): string[] {
  const bids = events.flatMap(({ event }) => (event.type === "bid_accepted" ? event.bidId : []));
  return bids.slice(0, BIDS_MAX);
}
