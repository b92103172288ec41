/**
 * A store that lost its tail may be told what it lost by those who read it before: they claim events, and
 * archival puts them back, above what it knows itself.
 */
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import { compare, follows, isBehind, type Position } from "../lot/position.ts";
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/** @param entries as they were in the outbox, oldest first; the last event of all is at `last` */
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

/** What is claimed of each lot, in order, each event once. Texts that are no events are left out. */
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

/** Of claimed events: those that go on, without a gap, where `position` ends. */
export function goingOn(claimed: readonly LotEvent[], position: Position): LotEvent[] {
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
