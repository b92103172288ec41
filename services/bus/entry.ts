/** An outbox entry as a message: its events as they are, and where it stands in the outbox. */
import type { JsMsg } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { Bus } from "./connect.ts";
import { PARTITION, streamNameOf, subjectOf } from "./subjects.ts";

/** The entry's id in the outbox. */
const OUTBOX_ID = "Gavel-Outbox-Id";
/** The id of the entry before it: a reader sees by it that nothing is missing in between. */
const AFTER_ID = "Gavel-After-Id";
/** W3C's name, which NATS keeps as it is written. */
const TRACEPARENT = "traceparent";

interface RelayedEntry {
  readonly outboxId: string;
  readonly afterId: string;
  readonly lotId: string;
  readonly events: string;
  /** Null where what it is about was not traced. */
  readonly traceparent: string | null;
}

/** A message of the stream: an entry, or whatever else somebody put there. */
export interface Delivery {
  readonly streamSeq: number;
  /** The last word of its subject. */
  readonly lotId: string;
  /** Null for a message that the relay did not write. */
  readonly outboxId: string | null;
  readonly afterId: string | null;
  readonly traceparent: string | null;
  readonly body: Uint8Array;
  /** Tells JetStream that it is done with. */
  ack(): void;
}

/**
 * Puts an entry on the stream, behind the message `lastSeq` and nowhere else: a relay that was stalled
 * while another took over is refused.
 * @throws when it was refused, or not acknowledged in time: it may be there or not
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

const ID = /^\d{1,16}-\d{1,16}$/;

export function deliveryOf(message: JsMsg): Delivery {
  const id = (header: string): string | null => {
    const value = message.headers?.get(header) ?? "";
    return ID.test(value) ? value : null;
  };
  return {
    streamSeq: message.seq,
    lotId: message.subject.split(".").at(-1) ?? "",
    outboxId: id(OUTBOX_ID),
    afterId: id(AFTER_ID),
    traceparent: message.headers?.get(TRACEPARENT) || null,
    body: message.data,
    ack: () => message.ack(),
  };
}
