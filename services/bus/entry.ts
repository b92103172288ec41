/** An outbox entry as a message: its events unchanged, and its place in the outbox as headers. */
import type { JsMsg } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { Bus } from "./connect.ts";
import { PARTITION, streamNameOf, subjectOf } from "./subjects.ts";

/** The id of the entry. */
const OUTBOX_ID = "Gavel-Outbox-Id";
/** The id of the entry before it, so that a reader can detect a missing entry. */
const AFTER_ID = "Gavel-After-Id";
/** The W3C name; NATS keeps its case. */
const TRACEPARENT = "traceparent";

interface RelayedEntry {
  readonly outboxId: string;
  readonly afterId: string;
  readonly lotId: string;
  readonly events: string;
  /** Null if the call that recorded the events was not traced. */
  readonly traceparent: string | null;
}

/** The headers of an entry, at most. */
const HEADERS_MAX_BYTES = 512;

/** Why NATS would refuse an entry of this size; null if it accepts it. */
export function payloadObstacle({ connection }: Bus, entryBytes: number): string | null {
  const maxBytes = connection.info?.max_payload ?? Infinity;
  const neededBytes = entryBytes + HEADERS_MAX_BYTES;
  if (maxBytes >= neededBytes) return null;
  return `max_payload of NATS is ${maxBytes} bytes and must be at least ${neededBytes}: raise it and restart NATS`;
}

/** A message of the stream: an entry, or a message that the relay did not write. */
export interface Delivery {
  readonly streamSeq: number;
  /** When JetStream stored it, with nanoseconds. A stream that was created again counts from 1, at a later time. */
  readonly storedAt: string;
  /** The last token of its subject. */
  readonly lotId: string;
  /** Null for a message that the relay did not write. */
  readonly outboxId: string | null;
  readonly afterId: string | null;
  readonly traceparent: string | null;
  readonly body: Uint8Array;
  /** Acknowledges the message to JetStream. */
  ack(): void;
}

/**
 * Publishes an entry directly after the message `lastSeq`: a stalled relay is refused once another relay took over.
 * @throws when it was refused, or not acknowledged in time: it may have been stored or not
 */
export async function publishEntry(
  bus: Bus,
  auctionUid: string,
  entry: RelayedEntry,
  lastSeq: number,
): Promise<void> {
  const head = headers();
  head.set(OUTBOX_ID, entry.outboxId);
  head.set(AFTER_ID, entry.afterId);
  if (entry.traceparent !== null) head.set(TRACEPARENT, entry.traceparent);
  await bus.stream.publish(subjectOf(auctionUid, PARTITION, entry.lotId), entry.events, {
    headers: head,
    expect: { streamName: streamNameOf(auctionUid), lastSequence: lastSeq },
  });
}

type RelayedDelivery = Delivery & { readonly outboxId: string; readonly afterId: string };

/** Whether the relay wrote a message: any other is foreign, and no entry of the outbox. */
export function isRelayed(delivery: Delivery): delivery is RelayedDelivery {
  return delivery.outboxId !== null && delivery.afterId !== null;
}

const ID = /^\d{1,16}-\d{1,16}$/;

export function deliveryOf(message: JsMsg): Delivery {
  const id = (header: string): string | null => {
    const value = message.headers?.get(header) ?? "";
    return ID.test(value) ? value : null;
  };
  return {
    streamSeq: message.seq,
    storedAt: message.timestamp,
    lotId: message.subject.split(".").at(-1) ?? "",
    outboxId: id(OUTBOX_ID),
    afterId: id(AFTER_ID),
    traceparent: message.headers?.get(TRACEPARENT) || null,
    body: message.data,
    ack: () => message.ack(),
  };
}
