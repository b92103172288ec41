import type { ConsumerMessages } from "@nats-io/jetstream";
import { Wake } from "../runtime/lifecycle.ts";
import type { Bus } from "./connect.ts";
import { type Delivery, deliveryOf } from "./entry.ts";
import { StreamUnavailable } from "./stream.ts";
import { consumerNameOf, PARTITION, streamNameOf } from "./subjects.ts";

/** Messages requested in advance; the consumer's max_ack_pending bounds those that wait here. */
const PULL_MESSAGES = 500;
const PULL_EXPIRES_MS = 5_000;

export interface BatchLimits {
  readonly messages: number;
  readonly bytes: number;
  /** How long the first message of a batch may wait for more. */
  readonly lingerMs: number;
}

/** Reads the archive's consumer in batches. */
export class Puller {
  #waiting: Delivery[] = [];
  #bytes = 0;
  readonly #arrived = new Wake();
  #ended: { error: Error | null } | null = null;
  #messages: ConsumerMessages | null = null;

  static async start(bus: Bus, auctionUid: string): Promise<Puller> {
    const name = consumerNameOf(PARTITION);
    const consumer = await bus.stream.consumers.get(streamNameOf(auctionUid), name);
    const puller = new Puller();
    const messages = await consumer.consume({
      max_messages: PULL_MESSAGES,
      expires: PULL_EXPIRES_MS,
      abort_on_missing_resource: true,
      callback: (message) => puller.#take(deliveryOf(message)),
    });
    puller.#messages = messages;
    void messages.closed().then((reason) => {
      puller.#ended = { error: reason instanceof Error ? reason : null };
      puller.#arrived.wake();
    });
    return puller;
  }

  #take(delivery: Delivery): void {
    this.#waiting.push(delivery);
    this.#bytes += delivery.body.length;
    this.#arrived.wake();
  }

  /**
   * The next messages: at least one, up to the limits, or those that arrived within `lingerMs`. Empty once the
   * signal aborts.
   * @throws when the stream or its consumer does not exist any more
   */
  async next(limits: BatchLimits, signal: AbortSignal): Promise<Delivery[]> {
    while (this.#waiting.length === 0 && !signal.aborted) {
      if (this.#ended)
        throw this.#ended.error ?? new StreamUnavailable("the consumer does not exist any more");
      await this.#arrived.wait(signal);
    }
    const deadline = performance.now() + limits.lingerMs;
    while (this.#waiting.length < limits.messages && !signal.aborted) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || this.#bytes >= limits.bytes) break;
      await this.#arrived.wait(signal, leftMs);
    }
    const taken = this.#waiting.splice(0, this.#fitting(limits));
    for (const { body } of taken) this.#bytes -= body.length;
    return taken;
  }

  async stop(): Promise<void> {
    await this.#messages?.close();
  }

  /** The number of messages within the limits; at least one. */
  #fitting({ messages, bytes }: BatchLimits): number {
    let sum = 0;
    const count = this.#waiting.findIndex(({ body }, at) => {
      sum += body.length;
      return at > 0 && (at >= messages || sum > bytes);
    });
    return count === -1 ? this.#waiting.length : count;
  }
}
