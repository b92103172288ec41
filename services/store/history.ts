import { decodeEvents, type LotEvent, UnreadableEvent } from "../lot/events.ts";
import { follows, isBehind, type Position } from "../lot/position.ts";
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/**
 * A lot's events after `since`, oldest first, up to the newest. Null when the store no longer has the first of
 * them (it keeps at most LOT_STREAM_BYTES of a lot), or never had `since`.
 */
export async function eventsSince(
  store: Store,
  keys: Keys,
  lotId: string,
  since: Position,
  maxEntries: number,
): Promise<LotEvent[] | null> {
  const { events } = keys.lot(lotId);
  // An entry has the id of its last event, so the first entry above `since` may begin before `since`.
  const entries = await store.xrange(
    events,
    `(${since.epoch}-${since.seq}`,
    "+",
    "COUNT",
    maxEntries,
  );
  const all = readable(entries.map(([, [, text]]) => text!));
  if (all === null) return null;
  const missed = all.filter((event) => isBehind(since, event));
  if (entries.length === maxEntries) return null;
  if (missed.length === 0) {
    const [newest] = await store.xrevrange(events, "+", "-", "COUNT", 1);
    const known = newest?.[0] ?? "1-0";
    return known === `${since.epoch}-${since.seq}` ? [] : null;
  }
  return follows(missed[0]!, since) ? missed : null;
}

/** Null if one of the texts is not a list of events: the snapshot of the lot replaces them. */
function readable(texts: readonly string[]): LotEvent[] | null {
  try {
    return texts.flatMap(decodeEvents);
  } catch (error) {
    if (error instanceof UnreadableEvent) return null;
    throw error;
  }
}

/**
 * A lot's events before `before`, newest first. Null begins with the newest event.
 * `complete` is false when older events were trimmed and only the archive has them.
 */
export async function eventsBefore(
  store: Store,
  keys: Keys,
  lotId: string,
  before: Position | null,
  maxEntries: number,
): Promise<{ events: LotEvent[]; complete: boolean }> {
  const { events: key } = keys.lot(lotId);
  const isBefore = (event: LotEvent) => before === null || isBehind(event, before);
  // `before` may lie inside an entry with a higher id: begin there, and drop the events that are not before it.
  let from = "+";
  if (before !== null) {
    const [holding] = await store.xrange(key, `${before.epoch}-${before.seq}`, "+", "COUNT", 1);
    from = holding?.[0] ?? "+";
  }
  const alsoHolding = before === null ? 0 : 1; // That entry may hold no event before `before`.
  const count = maxEntries + alsoHolding;
  const entries = await store.xrevrange(key, from, "-", "COUNT", count);
  const events = entries.flatMap(([, [, text]]) => decodeEvents(text!).reverse()).filter(isBefore);
  return {
    events,
    complete: events.at(-1)?.seq === 1 || (events.length === 0 && before?.seq === 1),
  };
}
