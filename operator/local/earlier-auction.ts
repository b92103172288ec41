/** What the stores say about the auction that this folder ran before. */
import { pause } from "../../services/runtime/lifecycle.ts";
import { connectStore, type Store, storeClockMs } from "../../services/store/connect.ts";
import { keysOf } from "../../services/store/keys.ts";
import { passTime } from "../../services/store/lifecycle.ts";
import { readAuction, readLots } from "../../services/store/lots.ts";

export type Standing =
  /** It goes on: some lot is still to open or to close. */
  | "goes on"
  /** Its time is up, and what happened last is not archived yet. */
  | "unsettled"
  /** All its lots are closed or withdrawn, and the archive has it all. */
  | "over";

const COMMAND_TIMEOUT_MS = 5_000;

async function withStore<T>(redisUrl: string, work: (store: Store) => Promise<T>): Promise<T> {
  const store = connectStore(redisUrl, "gavel-up", COMMAND_TIMEOUT_MS);
  try {
    await store.connect();
    return await work(store);
  } finally {
    store.disconnect();
  }
}

/** An auction that the store does not know goes on: archival will create or restore it. */
export function standingOf(redisUrl: string, uid: string): Promise<Standing> {
  return withStore(redisUrl, (store) => standingIn(store, uid));
}

async function standingIn(store: Store, uid: string): Promise<Standing> {
  const keys = keysOf(uid);
  const auction = await readAuction(store, keys);
  if (auction === null) return "goes on";
  const nowMs = await storeClockMs(store);
  const lots = await readLots(store, keys, auction, auction.lotIds);
  const done = lots.map((lot) => lot?.status === "closed" || lot?.status === "withdrawn");
  const past = lots.map((lot, i) => done[i] || (lot?.closesAtMs ?? Infinity) <= nowMs);
  if (!past.every(Boolean)) return "goes on";
  return done.every(Boolean) && auction.pendingBytes === 0 ? "over" : "unsettled";
}

const SETTLE_TIMEOUT_MS = 60_000;

/**
 * Closes the lots whose time passed while nothing ran, and waits until the archive, whose process
 * runs, has the results. False when it does not come to that in time.
 */
export function settle(redisUrl: string, uid: string, signal: AbortSignal): Promise<boolean> {
  return withStore(redisUrl, async (store) => {
    const deadline = Date.now() + SETTLE_TIMEOUT_MS;
    while (Date.now() < deadline && !signal.aborted) {
      await passTime(store, keysOf(uid)); // Does nothing until archival has confirmed the store.
      if ((await standingIn(store, uid)) === "over") return true;
      await pause(100, signal);
    }
    return false;
  });
}
