import { type Store, storeClockMs } from "./connect.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** Lots that one call opens or closes: bounds the time that Redis is busy. */
const MAX_LOTS = 50;

/** Records the opening time, once; later calls return it. Null if the auction cannot be opened. */
export async function openAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<number | null> {
  const all = [keys.auction, keys.due, ...lotIds.map((lotId) => keys.lot(lotId).lot)];
  const [status, opensAtMs] = await store.openAuction(all.length, ...all, ...lotIds);
  return status === "opens" ? opensAtMs! : null;
}

/** The end of bidding in an auction. */
export interface Fence {
  /** The last id of the outbox: no event is recorded after the fence. */
  readonly fencedId: string;
  readonly fencedAtMs: number;
}

/**
 * Ends bidding for good, in one step, and closes the lots whose closing time has passed. A repeated call
 * returns the first result. Null if there is no auction, it was redefined meanwhile, or its server is not
 * confirmed: nothing was done, and the call may be repeated.
 */
export async function fenceAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<Fence | null> {
  const all = [keys.auction, keys.outbox, keys.due, ...keysOfLots(keys, lotIds)];
  const [status, fencedId, fencedAtMs] = await store.fence(all.length, ...all, ...lotIds);
  return status === "fenced" ? { fencedId: fencedId!, fencedAtMs: fencedAtMs! } : null;
}

interface DueLots {
  readonly opened: readonly string[];
  readonly closed: readonly string[];
  /** When the next lot is due, by Redis's clock; null when none is. */
  readonly nextMs: number | null;
  readonly nowMs: number;
}

/** Opens and closes the lots that are due. Concurrent and repeated calls are harmless. */
export async function advanceDueLots(store: Store, keys: Keys): Promise<DueLots> {
  const nowMs = await storeClockMs(store);
  const due = await store.zrangebyscore(keys.due, "-inf", nowMs, "LIMIT", 0, MAX_LOTS);
  const opened: string[] = [];
  const closed: string[] = [];
  if (due.length > 0) {
    const all = [keys.auction, keys.outbox, keys.due, ...keysOfLots(keys, due)];
    const [, ...nowOpen] = await store.openLots(all.length, ...all, ...due);
    const [, ...nowClosed] = await store.closeLots(all.length, ...all, ...due);
    opened.push(...nowOpen);
    closed.push(...nowClosed);
  }
  // Suspended, fenced or not confirmed: retrying at once would not help.
  if (due.length > 0 && opened.length + closed.length === 0)
    return { opened, closed, nextMs: null, nowMs };
  const [, next] = await store.zrange(keys.due, "0", "0", "WITHSCORES");
  return { opened, closed, nextMs: next === undefined ? null : Number(next), nowMs };
}
