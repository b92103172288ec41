import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/** One outbox entry: the events that one script call recorded for one lot. */
export interface OutboxEntry {
  /** The stream id: it orders the outbox, and watermarks are such ids. */
  readonly id: string;
  readonly lotId: string;
  /** `decodeEvents` of lot/events.ts reads it. It is relayed unchanged. */
  readonly events: string;
  /** Of the call that recorded the events; null if it was not traced. */
  readonly traceparent: string | null;
}

type StreamEntry = [id: string, fields: string[]];

/**
 * The entries after `afterId`, oldest first; waits up to `blockMs` for the first one. Needs a connection of its
 * own, with a command timeout above `blockMs`.
 *
 * The feed of viewers reads it, too: Redis flushes its log before it replies, so the returned events are on
 * disk, and reading can continue from an id after any interruption.
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

/** The id of the newest entry; "0-0" for an empty outbox. */
export async function outboxTail(store: Store, keys: Keys): Promise<string> {
  const [newest] = await store.xrevrange(keys.outbox, "+", "-", "COUNT", 1);
  return newest?.[0] ?? "0-0";
}

/** The id of the last entry ever added, even if it was trimmed. Null if there is no outbox. */
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
 * Moves the watermark in the store to `archivedId`, and drops entries below `minId`, which is not above it.
 * @returns bytes of events that are not archived yet
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

/** Orders two stream ids as Redis does: negative, 0 or positive. */
export function compareIds(a: string, b: string): number {
  const [aMs = "0", aN = "0"] = a.split("-");
  const [bMs = "0", bN = "0"] = b.split("-");
  return Number(aMs) - Number(bMs) || Number(aN) - Number(bN);
}
