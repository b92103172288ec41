/** The auction that this folder ran before: keeps its digits, reads from the store how it ended, closes its overdue lots. */
import { pause } from "../../services/runtime/lifecycle.ts";
import { connectStore, type Store, storeClockMs } from "../../services/store/connect.ts";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import { keysOf } from "../../services/store/keys.ts";
import { advanceDueLots } from "../../services/store/lot-changes.ts";
import { readAuction, readLots } from "../../services/store/lots.ts";
import type { AuctionResource } from "../api/auction-resource.ts";

/**
 * An auction whose file sets no digits keeps those that it has: an earlier version took 2 for every
 * currency. On a cluster the API server stores them.
 * @param before the definition that the last run wrote
 */
export function withKeptDigits(
  auction: AuctionResource,
  uid: string,
  before: AuctionDefinition | null,
): AuctionResource {
  const { spec } = auction;
  if (spec.minorUnitDigits !== undefined || before === null) return auction;
  if (before.uid !== uid || before.currency !== spec.currency) return auction;
  return { ...auction, spec: { ...spec, minorUnitDigits: before.minorUnitDigits } };
}

type PreviousAuctionState =
  /** At least one lot is still to open or to close. */
  | "running"
  /** Every lot's closing time has passed, but some lots are not closed or some events are not archived. */
  | "unarchived"
  /** Every lot is closed or withdrawn, and every event is archived. */
  | "archived";

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

/** `running` if the store does not know the auction: archival creates or restores it. */
export function previousAuctionState(redisUrl: string, uid: string): Promise<PreviousAuctionState> {
  return withStore(redisUrl, (store) => stateInStore(store, uid));
}

async function stateInStore(store: Store, uid: string): Promise<PreviousAuctionState> {
  const keys = keysOf(uid);
  const auction = await readAuction(store, keys);
  if (auction === null) return "running";
  const nowMs = await storeClockMs(store);
  const lots = await readLots(store, keys, auction, auction.lotIds);
  const isDone = lots.map((lot) => lot?.status === "closed" || lot?.status === "withdrawn");
  const isDue = lots.map((lot, i) => isDone[i] || (lot?.closesAtMs ?? Infinity) <= nowMs);
  if (!isDue.every(Boolean)) return "running";
  return isDone.every(Boolean) && auction.pendingBytes === 0 ? "archived" : "unarchived";
}

const ARCHIVE_TIMEOUT_MS = 60_000;

/**
 * Closes the lots whose closing time passed while nothing ran, and waits until archival, which must be
 * running, has archived the results.
 * @returns false if that takes longer than a minute
 */
export function closePreviousAuction(
  redisUrl: string,
  uid: string,
  signal: AbortSignal,
): Promise<boolean> {
  return withStore(redisUrl, async (store) => {
    const deadline = Date.now() + ARCHIVE_TIMEOUT_MS;
    while (Date.now() < deadline && !signal.aborted) {
      await advanceDueLots(store, keysOf(uid)); // No effect until archival has confirmed the store.
      if ((await stateInStore(store, uid)) === "archived") return true;
      await pause(100, signal);
    }
    return false;
  });
}
