import { type Store, storeClockMs } from "./connect.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** How many lots one call opens or closes: bounds the time that Redis is busy. */
const MAX_LOTS = 50;

/** Stamps the opening, once; later calls give the first one's. Null where there is none to be opened. */
export async function openAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<number | null> {
  const all = [keys.auction, keys.due, ...lotIds.map((lotId) => keys.lot(lotId).lot)];
  const [word, opensAtMs] = await store.openAuction(all.length, ...all, ...lotIds);
  return word === "opens" ? opensAtMs! : null;
}

/** The end of all intake. */
export interface Fence {
  /** The last outbox id that will ever be. */
  readonly fencedId: string;
  readonly fencedAtMs: number;
}

/**
 * Ends all intake for good, in one step; lots whose time is over are closed by it. Repeating it gives the
 * first one's answer. Null where there is no auction, or it was defined anew meanwhile, or its server is not
 * confirmed: nothing was done, ask again.
 */
export async function fenceAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<Fence | null> {
  const all = [keys.auction, keys.outbox, keys.due, ...keysOfLots(keys, lotIds)];
  const [word, fencedId, fencedAtMs] = await store.fence(all.length, ...all, ...lotIds);
  return word === "fenced" ? { fencedId: fencedId!, fencedAtMs: fencedAtMs! } : null;
}

export interface Passed {
  readonly opened: readonly string[];
  readonly closed: readonly string[];
  /** When the next lot is due, by Redis's clock; null when none is. */
  readonly nextMs: number | null;
  readonly nowMs: number;
}

/** Opens and closes the lots whose time has come. Repeating it, or running it twice, is harmless. */
export async function passTime(store: Store, keys: Keys): Promise<Passed> {
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
  // Due, and nothing was done: suspended, fenced or not confirmed. Looking again at once would not help.
  if (due.length > 0 && opened.length + closed.length === 0)
    return { opened, closed, nextMs: null, nowMs };
  const [, next] = await store.zrange(keys.due, "0", "0", "WITHSCORES");
  return { opened, closed, nextMs: next === undefined ? null : Number(next), nowMs };
}

/**
 * Takes or keeps a lease. Its holder may do the work; since all such work is idempotent, a lease
 * saves effort and is never what correctness rests on.
 */
export async function holdLease(
  store: Store,
  keys: Keys,
  work: "clock" | "relay",
  holder: string,
  ttlMs: number,
): Promise<boolean> {
  const [held] = await store.holdLease(keys.lease(work), holder, ttlMs);
  return held === 1;
}

export async function releaseLease(
  store: Store,
  keys: Keys,
  work: "clock" | "relay",
  holder: string,
): Promise<void> {
  await store.holdLease(keys.lease(work), holder, 0);
}
