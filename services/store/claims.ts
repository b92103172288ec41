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
  const ofLots = new Map<string, Map<string, LotEvent>>();
  for await (const [lotId, text] of claimedTexts(store, keys)) {
    const events = ofLots.get(lotId) ?? new Map<string, LotEvent>();
    ofLots.set(lotId, events);
    for (const event of readable(lotId, text)) events.set(`${event.epoch}-${event.seq}`, event);
  }
  return new Map([...ofLots].map(([lotId, events]) => [lotId, [...events.values()].sort(compare)]));
}

async function* claimedTexts(
  store: Store,
  keys: Keys,
): AsyncGenerator<readonly [lotId: string, text: string]> {
  let cursor = "0";
  do {
    const [next, flat] = await store.hscan(keys.claims, cursor, "COUNT", READ_ENTRIES);
    for (let at = 0; at < flat.length; at += 2) {
      const [lotId, digest] = flat[at]!.split(":");
      if (digest !== undefined) yield [lotId!, flat[at + 1]!]; // not the field "bytes"
    }
    cursor = next;
  } while (cursor !== "0");
  for (let from = "-"; ;) {
    const entries = await store.xrange(keys.formerClaims, from, "+", "COUNT", READ_ENTRIES);
    for (const [, [, lotId, , text]] of entries) yield [lotId!, text!];
    if (entries.length < READ_ENTRIES) break;
    from = `(${entries.at(-1)![0]}`;
  }
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
