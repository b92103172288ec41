/** What of a batch is traced: a span for each message whose sender was, and the one insert that they share. */
import type { Delivery } from "../../bus/entry.ts";
import { SUBJECT_TEMPLATE, subjectOf } from "../../bus/subjects.ts";
import type { Failure, Tracing } from "../../runtime/tracing.ts";
import type { Batch, Entry, Partition } from "./record.ts";

/** Ids of bids that one span names; an entry may hold the events of 256. */
const BIDS_MAX = 32;

/** What both the relay's and the archive's span say of a message. */
export function messageAttributes(of: Partition, lotId: string, outboxId: string) {
  return {
    "messaging.system": "nats",
    "messaging.destination.name": subjectOf(of.auctionUid, of.partition, lotId),
    "messaging.destination.template": SUBJECT_TEMPLATE,
    "messaging.message.id": outboxId,
    "gavel.lot.id": lotId,
  };
}

/**
 * @returns ends the spans, when the batch is archived or given up; null where nothing of it is traced. Rows
 *   know nothing of traces: `events.outbox_id` is the span's `messaging.message.id`, and `bids.bid_id` one of
 *   its `gavel.bid.ids`
 */
export function traceBatch(
  tracing: Tracing | null,
  of: Partition,
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
      ...messageAttributes(of, entry.lotId, entry.outboxId),
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
