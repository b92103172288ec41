/**
 * Reads the store's outbox into the hub: one connection a process, one entry after the other.
 *
 * The feed may lose entries (a trimmed outbox, an unreadable entry): that shows as a gap in a lot's `seq`, and
 * the gap is filled from the lot's own stream. A loss that shows as no gap is found by the drift check.
 */
import { isUnavailable } from "../access/error-class.ts";
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import { pause } from "../runtime/lifecycle.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Span, Tracing } from "../runtime/tracing.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { compareIds, type OutboxEntry, outboxTail, readOutbox } from "../store/outbox.ts";
import type { FanOut } from "./fan-out.ts";
import type { Hub } from "./hub.ts";
import type { RecentEntries } from "./recent-entries.ts";
import type { DriftCheck } from "./drift-check.ts";
import type { GapFill } from "./gap-fill.ts";
import type { StoreClock } from "./store-clock.ts";

/** Entries taken at once; each holds the events of up to 256 bids. */
const READ_ENTRIES = 100;

/** How long one read waits for the next entry. */
const BLOCK_MS = 2_000;

/** A connection that is silent for longer is dead. */
export const FEED_TIMEOUT_MS = BLOCK_MS + 1_000;

const RETRY_MAX_MS = 1_000;

/** An interruption is logged from so many failures in a row on: the first come while a connection opens. */
const LOGGED_FAILURES = 4;

interface Dependencies {
  /** A connection of the feed's own, with FEED_TIMEOUT_MS. */
  readonly blocking: Store;
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly fanOut: FanOut;
  readonly gapFill: GapFill;
  readonly driftCheck: DriftCheck;
  readonly recentEntries: RecentEntries;
  readonly clock: StoreClock;
  readonly log: Logger;
  readonly tracing: Tracing | null;
  /** Age of an entry at its arrival, by Redis's clock. */
  readonly onLag: (seconds: number) => void;
}

export class Feed {
  /** The last entry taken; null before the first read. Kept through every interruption. */
  #cursor: string | null = null;
  #failures = 0;
  readonly #dependencies: Dependencies;
  readonly #gaps: SampledLog;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#gaps = new SampledLog(dependencies.log);
  }

  /** Feeds the hub until the signal aborts; waits while the store is away. @throws a defect */
  async run(signal: AbortSignal): Promise<void> {
    const { blocking, log } = this.#dependencies;
    signal.addEventListener("abort", () => blocking.disconnect(), { once: true });
    while (!signal.aborted) {
      try {
        await this.#step();
        if (this.#failures >= LOGGED_FAILURES)
          log.info({ failures: this.#failures }, "feed resumed");
        this.#failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!isUnavailable(error)) throw error;
        if (++this.#failures === LOGGED_FAILURES) {
          log.warn({ err: error }, "feed interrupted");
        }
        // A read without an answer in time may sit on a dead connection: open another one.
        if (blocking.status === "ready") blocking.disconnect(true);
        await pause(Math.random() * Math.min(RETRY_MAX_MS, 20 * 2 ** this.#failures), signal);
      }
    }
  }

  async #step(): Promise<void> {
    const { blocking, store, keys, driftCheck, fanOut } = this.#dependencies;
    if (this.#cursor === null) {
      // The tail is read before the lots: the feed brings every event after it, and the hub skips those that
      // it has already.
      const tail = await outboxTail(store, keys);
      await driftCheck.check();
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
    for (const span of spans) this.#dependencies.tracing!.finish(span, {}, null);
    if (entries.length === 0) await this.#rewind(this.#cursor);
  }

  /** A span from an entry's arrival until its frames are written to every socket that watches the lot. */
  #trace({ id, lotId, traceparent }: OutboxEntry): Span | null {
    const { tracing, hub } = this.#dependencies;
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

  /** An outbox that ends before the cursor is another one: it was restored, or trimmed to nothing. */
  async #rewind(cursor: string): Promise<void> {
    const { store, keys } = this.#dependencies;
    const tail = await outboxTail(store, keys);
    if (compareIds(tail, cursor) < 0) this.#cursor = tail;
  }

  async #take({ id, lotId, events: text }: OutboxEntry): Promise<void> {
    const { hub, gapFill, recentEntries, clock, onLag } = this.#dependencies;
    const events = readEvents(text);
    if (events !== null) recentEntries.add(lotId, text, events);
    if (events === null) this.#gaps.error({ id, lotId }, "unreadable outbox entry");
    else onLag(Math.max(0, clock.nowMs() - events.at(-1)!.atMs) / 1000);
    if (events !== null && hub.publish(lotId, events) === "published") return;
    const result = await gapFill.fill(lotId);
    this.#gaps.info({ id, lotId, result }, "gap filled");
    // A fill that was running already may have read before this entry was written.
    if (events !== null && hub.publish(lotId, events) !== "published") await gapFill.fill(lotId);
  }
}

/** Null for a text that is not events: such an entry must not stop the entries after it. */
function readEvents(text: string): LotEvent[] | null {
  try {
    return decodeEvents(text);
  } catch {
    return null;
  }
}
