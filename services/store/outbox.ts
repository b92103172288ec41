import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/** One outbox entry: the events that one script call recorded for one lot. */
export interface OutboxEntry {
  /** The stream id: the order of the outbox, and the unit of the watermark. */
  readonly id: string;
  readonly lotId: string;
  /** As lot/events.ts `decodeEvents` reads it; passed on as it is. */
  readonly events: string;
  /** Of the call that recorded them, where it was traced. */
  readonly traceparent: string | null;
}

type StreamEntry = [id: string, fields: string[]];

/**
 * The entries after `afterId`, oldest first; waits up to `blockMs` for the first. Use a connection of
 * its own, with a command timeout above `blockMs`.
 *
 * The viewers' feed too: Redis flushes its log before it writes a reply, so what this returns is on
 * disk, and an id is a place to go on from after any interruption.
 */
export async function readOutbox(
  store: Store,
  keys: Keys,
  afterId: string,
  { count, blockMs }: { count: number; blockMs: number },
): Promise<OutboxEntry[]> {
  const streams = (await store.call(
    "XREAD",
    "COUNT",
    count,
    "BLOCK",
    blockMs,
    "STREAMS",
    keys.outbox,
    afterId,
  )) as [key: string, entries: StreamEntry[]][] | null;
  return (streams?.[0]?.[1] ?? []).map(([id, [, lotId, , events, , traceparent]]) => {
    return { id, lotId: lotId!, events: events!, traceparent: traceparent ?? null };
  });
}

/** The id of the newest entry; "0-0" for an outbox that never had one. */
export async function outboxTail(store: Store, keys: Keys): Promise<string> {
  const [newest] = await store.xrevrange(keys.outbox, "+", "-", "COUNT", 1);
  return newest?.[0] ?? "0-0";
}

/** The id of the last entry that ever was, trimmed or not. Null where there is no outbox (yet). */
export async function lastOutboxId(store: Store, keys: Keys): Promise<string | null> {
  try {
    const info = (await store.xinfo("STREAM", keys.outbox)) as unknown[];
    return String(info[info.indexOf("last-generated-id") + 1]);
  } catch (error) {
    if ((error as Error).message.includes("no such key")) return null;
    throw error;
  }
}

/**
 * Tells the store what Postgres has committed, and drops entries below `minId` (never above it).
 * @returns bytes of events still to be archived
 */
export async function trimOutbox(
  store: Store,
  keys: Keys,
  archivedId: string,
  minId: string,
): Promise<number> {
  if (compareIds(minId, archivedId) > 0) throw new Error("would trim what is not archived");
  const [pendingBytes] = await store.trimOutbox(keys.auction, keys.outbox, archivedId, minId);
  return pendingBytes;
}

/** Orders two stream ids as Redis does: below, at or above 0. */
export function compareIds(a: string, b: string): number {
  const [aMs = "0", aN = "0"] = a.split("-");
  const [bMs = "0", bN = "0"] = b.split("-");
  return Number(aMs) - Number(bMs) || Number(aN) - Number(bN);
}
