/**
 * Claims: a process that has shown events which the store then lost writes them back as claims, and archival
 * restores them after the events that it knows itself.
 */
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import { compare, follows, isBehind, type Position } from "../lot/position.ts";
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/**
 * @param last position of the last event
 * @param entries texts of the outbox entries, oldest first
 */
export async function claimEvents(
  store: Store,
  keys: Keys,
  lotId: string,
  last: Position,
  entries: readonly string[],
): Promise<void> {
  await store.claimEvents(
    keys.auction,
    keys.claims,
    keys.cleaned,
    lotId,
    last.epoch,
    last.seq,
    ...entries,
  );
}

const READ_ENTRIES = 1_000;

/** The claimed events of each lot, in order and without duplicates. Unreadable texts are left out. */
export async function readClaims(store: Store, keys: Keys): Promise<Map<string, LotEvent[]>> {
  const all = new Map<string, LotEvent[]>();
  for (let from = "-"; ;) {
    const entries = await store.xrange(keys.claims, from, "+", "COUNT", READ_ENTRIES);
    for (const [, [, lotId, , text]] of entries) {
      const events = all.get(lotId!) ?? [];
      all.set(lotId!, [...events, ...readable(lotId!, text!)]);
    }
    if (entries.length < READ_ENTRIES) break;
    from = `(${entries.at(-1)![0]}`;
  }
  for (const [lotId, events] of all) {
    const once = new Map(events.map((event) => [`${event.epoch}-${event.seq}`, event]));
    all.set(lotId, [...once.values()].sort(compare));
  }
  return all;
}

function readable(lotId: string, text: string): LotEvent[] {
  try {
    return decodeEvents(text).filter((event) => event.lotId === lotId);
  } catch {
    return [];
  }
}

/** The claimed events that follow `position` without a gap. */
export function contiguousAfter(claimed: readonly LotEvent[], position: Position): LotEvent[] {
  const next: LotEvent[] = [];
  let at = position;
  for (const event of claimed) {
    if (!isBehind(at, event)) continue;
    if (!follows(event, at)) break;
    next.push(event);
    at = event;
  }
  return next;
}
