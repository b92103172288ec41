/** Small open auctions for tests, with the changes that a test needs. */
import { randomUUID } from "node:crypto";
import { afterFile } from "./after-file.ts";
import type { Bid, Lot } from "../lot/lot.ts";
import type { Rules } from "../lot/terms.ts";
import { connectStore, type Store } from "../store/connect.ts";
import { type AuctionDefinition, defineLots, type LotDefinition } from "../store/define-lots.ts";
import { keysOf, type Keys } from "../store/keys.ts";
import { openAuction } from "../store/lot-changes.ts";

export const RULES: Rules = {
  increments: [
    { fromMinor: 0, stepMinor: 50 },
    { fromMinor: 2_000, stepMinor: 200 },
  ],
  antiSniping: { windowMs: 0, extensionMs: 0, maxExtensions: 0 },
  maxAmountMinor: 1_000_000_000_000,
  maxJump: 1_000,
  reserveDisclosure: "MetOnly",
};

export function lotDefinition(lotId: string, changes: Partial<LotDefinition> = {}): LotDefinition {
  return {
    lotId,
    title: `Lot ${lotId}`,
    startMinor: 1_000,
    reserveMinor: null,
    closesAtMs: null,
    lastsMs: 60 * 60 * 1000,
    withdrawn: false,
    ...changes,
  };
}

export function auctionDefinition(changes: Partial<AuctionDefinition> = {}): AuctionDefinition {
  return {
    uid: randomUUID(),
    generation: 0,
    name: "test-sale",
    title: "Test sale",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: null,
    rules: RULES,
    suspended: false,
    lots: [lotDefinition("lot-1")],
    ...changes,
  };
}

export const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** Defines an auction and opens it, unless its definition says when it opens. */
export async function defineAndOpen(
  store: Store,
  changes: Partial<AuctionDefinition> = {},
): Promise<{ definition: AuctionDefinition; keys: Keys }> {
  const definition = auctionDefinition(changes);
  const keys = keysOf(definition.uid);
  const defined = await defineLots(store, keys, definition, { maxPendingBytes: MAX_PENDING_BYTES });
  if (defined.outcome !== "defined") throw new Error(`not defined: ${JSON.stringify(defined)}`);
  if (definition.opensAtMs === null) {
    await openAuction(
      store,
      keys,
      definition.lots.map(({ lotId }) => lotId),
    );
  }
  return { definition, keys };
}

/** The time limit of a test's own connection. It is longer than the limits under test: a busy machine may pause for seconds. */
export const PATIENCE_MS = 10_000;

/** A connected store that is closed after the test file. */
export async function openStore(url: string): Promise<Store> {
  const store = connectStore(url, "gavel-test", PATIENCE_MS);
  store.on("error", () => {});
  await store.connect();
  afterFile(() => store.disconnect());
  return store;
}

let bids = 0;

export function bid(amountMinor: number, changes: Partial<Bid> = {}): Bid {
  const n = ++bids;
  return {
    bidId: randomUUID(),
    bidderId: `bidder-${n % 3}`,
    key: `key-${n}`,
    amountMinor,
    ...changes,
  };
}

/** A lot for the pure rules, open from 1,000 to 100,000 ms. */
export function lot(changes: Partial<Lot> = {}): Lot {
  return {
    lotId: "lot-1",
    title: "Lot 1",
    status: "open",
    intake: "taking",
    startMinor: 1_000,
    reserveMinor: null,
    rules: RULES,
    opensAtMs: 1_000,
    closesAtMs: 100_000,
    extensions: 0,
    epoch: 1,
    seq: 1,
    atMs: 1_000,
    leadingBid: null,
    bidCount: 0,
    ...changes,
  };
}
