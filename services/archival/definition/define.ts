/**
 * How an auction comes into a store: registered in Postgres first, then written to Redis. Only archival
 * does this, since only it can tell a new store from one that lost its data.
 */
import { type AuctionDefinition, defineLots } from "../../store/define-lots.ts";
import { readAuction } from "../../store/lots.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { type CheckOf, checkStore } from "../recovery/check-store.ts";
import { raiseEpoch } from "../postgres/archived-lots.ts";
import { markSuspended } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";

export type Settled =
  | { readonly outcome: "defined" }
  /** The store goes on with the rules that it has. */
  | { readonly outcome: "refused"; readonly why: string };

/** @throws when one of the stores cannot be asked: nothing was decided; ask again */
export async function settleDefinition(
  check: CheckOf,
  definition: AuctionDefinition,
): Promise<Settled> {
  const { store, keys, archive, maxBytes: maxPendingBytes } = check;
  const registered = await register(archive, definition);
  let { epoch } = registered;
  const checked = await checkStore(check, null);
  if (checked === "removed") return { outcome: "refused", why: "the auction was removed" };
  if (checked === "new" && registered.wasDefined) {
    // It was taken by a store before, and nothing of it reached us: what that store acknowledged after
    // its last archived event is gone with it, and must never be mistaken for what comes now.
    epoch = await raiseEpoch(archive, definition.uid);
  }
  const defined = await defineLots(store, keys, definition, { epoch, maxPendingBytes });
  if (defined.outcome === "unconfirmed") throw new StoreUnavailable("Redis changed meanwhile");
  if (defined.outcome === "refused") return defined;
  // Only now: what the store refused is not in force, and a restore goes by what is.
  const { uid, name, title, currency, minorUnitDigits } = definition;
  await archive.query(
    `update auctions set name = $2, title = $3, currency = $4, minor_unit_digits = $5, rules = $6,
       defined_at = coalesce(defined_at, now())
     where auction_uid = $1`,
    [uid, name, title, currency, minorUnitDigits, JSON.stringify(definition)],
  );
  const suspendedAtMs = (await readAuction(store, keys))?.suspendedAtMs ?? null;
  await markSuspended(archive, uid, suspendedAtMs);
  await checkStore(check, null);
  return { outcome: "defined" };
}

interface Registered {
  readonly epoch: number;
  readonly wasDefined: boolean;
}

async function register(archive: Archive, definition: AuctionDefinition): Promise<Registered> {
  const { uid, name, title, currency, minorUnitDigits } = definition;
  const { rows } = await archive.query<{ epoch: string; defined: boolean }>(
    `insert into auctions (auction_uid, name, title, currency, minor_unit_digits, rules)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (auction_uid) do update set auction_uid = excluded.auction_uid
     returning epoch, defined_at is not null as defined`,
    [uid, name, title, currency, minorUnitDigits, JSON.stringify(definition)],
  );
  const { epoch, defined } = rows[0]!;
  return { epoch: Number(epoch), wasDefined: defined };
}
