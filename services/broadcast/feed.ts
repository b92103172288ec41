/**
 * From the store's outbox to the hub: one connection a process, one entry after the other.
 *
 * The feed need not be perfect, only its end must: whatever it loses (a trimmed outbox, an entry that
 * cannot be read) shows as a gap in a lot's `seq` and is refilled from the lot's own stream; what never
 * shows is found by `Positions`, which compares every lot with the store.
 */
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import { pause } from "../runtime/lifecycle.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Span, Tracing } from "../runtime/tracing.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { compareIds, type OutboxEntry, outboxTail, readOutbox } from "../store/outbox.ts";
import type { FanOut } from "./fan-out.ts";
import type { Hub } from "./hub.ts";
import type { KeptEntries } from "./recent-entries.ts";
import type { Positions } from "./drift-check.ts";
import type { Refill } from "./gap-fill.ts";
import type { StoreClock } from "./store-clock.ts";

/** Entries taken at once; each holds the events of up to 256 bids. */
const READ_ENTRIES = 100;

/** How long one read waits for the next entry, */
const BLOCK_MS = 2_000;

/** and how long its connection may be silent beyond that before it is taken for dead. */
export const FEED_TIMEOUT_MS = BLOCK_MS + 1_000;

const RETRY_MAX_MS = 1_000;

/** An interruption is told at so many failures in a row: the first come while a connection opens. */
const TELL_FAILURES = 4;

export interface FeedParts {
  /** A connection of the feed's own, with FEED_TIMEOUT_MS. */
  readonly blocking: Store;
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly fanOut: FanOut;
  readonly refill: Refill;
  readonly positions: Positions;
  readonly kept: KeptEntries;
  readonly clock: StoreClock;
  readonly log: Logger;
  readonly tracing: Tracing | null;
  /** How long ago what was just taken had happened, by Redis's clock. */
  readonly onLag: (seconds: number) => void;
}

export class Feed {
  /** The last entry taken; null before the lots were read. Kept through every interruption. */
  #cursor: string | null = null;
  #failures = 0;
  readonly #parts: FeedParts;
  readonly #gaps: SampledLog;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#gaps = new SampledLog(parts.log);
  }

  /** Feeds the hub until the signal aborts, whatever becomes of the store. */
  async run(signal: AbortSignal): Promise<void> {
    const { blocking, log } = this.#parts;
    signal.addEventListener("abort", () => blocking.disconnect(), { once: true });
    while (!signal.aborted) {
      try {
        await this.#step();
        if (this.#failures >= TELL_FAILURES)
          log.info({ failures: this.#failures }, "the feed goes on");
        this.#failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (++this.#failures === TELL_FAILURES) {
          log.warn({ err: error }, "the feed is interrupted");
        }
        // A read that was not answered in time may sit on a connection that is dead and does not know.
        if (blocking.status === "ready") blocking.disconnect(true);
        await pause(Math.random() * Math.min(RETRY_MAX_MS, 20 * 2 ** this.#failures), signal);
      }
    }
  }

  async #step(): Promise<void> {
    const { blocking, store, keys, positions, fanOut } = this.#parts;
    if (this.#cursor === null) {
      // The tail first: what happens after it comes by the feed, and what the lots have already of
      // that is passed over.
      const tail = await outboxTail(store, keys);
      await positions.check();
      this.#cursor = tail;
    }
    const options = { count: READ_ENTRIES, blockMs: BLOCK_MS };
    const entries = await readOutbox(blocking, keys, this.#cursor, options);
    const spans: Span[] = [];
    for (const entry of entries) {
      const span = entry.traceparent === null ? null : this.#trace(entry);
      if (span) spans.push(span);
      await this.#take(entry);
      this.#cursor = entry.id;
    }
    await fanOut.run();
    for (const span of spans) this.#parts.tracing!.finish(span, {}, null);
    if (entries.length === 0) await this.#rewind(this.#cursor);
  }

  /** From an entry's arrival until its frames are written to every socket that watches the lot. */
  #trace({ id, lotId, traceparent }: OutboxEntry): Span | null {
    const { tracing, hub } = this.#parts;
    if (tracing === null) return null;
    return tracing.follow(traceparent, "process outbox", "consumer", {
      "messaging.system": "redis",
      "messaging.operation.type": "process",
      "messaging.operation.name": "deliver",
      "messaging.destination.name": "outbox",
      "messaging.message.id": id,
      "gavel.lot.id": lotId,
      "gavel.viewers": hub.readersOf(lotId),
    });
  }

  /** An outbox that ends before our cursor is another one: it was restored, or trimmed to nothing. */
  async #rewind(cursor: string): Promise<void> {
    const { store, keys } = this.#parts;
    const tail = await outboxTail(store, keys);
    if (compareIds(tail, cursor) < 0) this.#cursor = tail;
  }

  async #take({ id, lotId, events: text }: OutboxEntry): Promise<void> {
    const { hub, refill, kept, clock, onLag } = this.#parts;
    const events = readEvents(text);
    if (events !== null) kept.keep(lotId, text, events);
    if (events === null) this.#gaps.error({ id, lotId }, "an outbox entry cannot be read");
    else onLag(Math.max(0, clock.nowMs() - events.at(-1)!.atMs) / 1000);
    if (events !== null && hub.publish(lotId, events) === "published") return;
    const result = await refill.lot(lotId);
    this.#gaps.info({ id, lotId, result }, "refilled a lot");
    // A refill that others had begun may have read before this entry was written.
    if (events !== null && hub.publish(lotId, events) !== "published") await refill.lot(lotId);
  }
}

/** Null for a text that is not events: such an entry must not stop those after it. */
function readEvents(text: string): LotEvent[] | null {
  try {
    return decodeEvents(text);
  } catch {
    return null;
  }
}
