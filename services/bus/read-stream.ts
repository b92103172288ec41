import { AckPolicy, DeliverPolicy } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import type { Bus } from "./connect.ts";
import { type Delivery, deliveryOf } from "./entry.ts";
import { streamState, StreamUnavailable } from "./stream.ts";
import { streamNameOf, subjectsOf } from "./subjects.ts";

const FETCH_MESSAGES = 500;
const FETCH_EXPIRES_MS = 2_000;
/** When the server deletes the consumer of a reader that died. */
const INACTIVE_MS = 30_000;
/** Empty fetches in a row, although messages are left, after which reading fails. */
const EMPTY_FETCHES_MAX = 5;

/**
 * Reads what an auction's stream has now, from `fromSeq` on, oldest first, beside the archive's consumer and without
 * acknowledging anything. No stream: nothing.
 * @throws when NATS does not answer
 */
export async function* readStream(
  bus: Bus,
  auctionUid: string,
  fromSeq = 1,
): AsyncGenerator<Delivery[]> {
  const state = await streamState(bus, auctionUid);
  if (state === null || state.lastSeq < fromSeq) return;
  const stream = streamNameOf(auctionUid);
  const { name } = await bus.manager.consumers.add(stream, {
    filter_subject: subjectsOf(auctionUid),
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: fromSeq,
    ack_policy: AckPolicy.None,
    inactive_threshold: nanos(INACTIVE_MS),
  });
  try {
    const consumer = await bus.stream.consumers.get(stream, name);
    let left = (await consumer.info()).num_pending;
    for (let empty = 0; left > 0;) {
      const messages = await consumer.fetch({
        max_messages: Math.min(left, FETCH_MESSAGES),
        expires: FETCH_EXPIRES_MS,
      });
      const deliveries: Delivery[] = [];
      for await (const message of messages) deliveries.push(deliveryOf(message));
      left -= deliveries.length;
      empty = deliveries.length === 0 ? empty + 1 : 0;
      if (empty > EMPTY_FETCHES_MAX)
        throw new StreamUnavailable(`the stream did not deliver ${left} messages`);
      if (deliveries.length > 0) yield deliveries;
    }
  } finally {
    await bus.manager.consumers.delete(stream, name).catch(() => {}); // It expires by itself.
  }
}
