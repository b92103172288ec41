/**
 * How an auction comes into a store: registered in Postgres first, then written to Redis. Only archival
 * does this, since only it can tell a new store from one that lost its data.
 */
import type { Bus } from "../bus/connect.ts";
import { streamState } from "../bus/stream.ts";
import type { Store } from "../store/connect.ts";
import { type AuctionDefinition, defineLots } from "../store/define-lots.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction } from "../store/lots.ts";
import type { Archive } from "./postgres.ts";

export interface Stores {
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Waits for NATS, however long it takes. @throws when the tier is to stop meanwhile */
  readonly bus: () => Promise<Bus>;
}

export type Settled =
  | { readonly outcome: "defined" }
  /** The store goes on with the rules that it has. */
  | { readonly outcome: "refused"; readonly why: string }
  /** The store has no auction although events of it exist: it must be restored, not defined. */
  | { readonly outcome: "lost" };

/** @throws when one of the stores cannot be asked: nothing was decided; ask again */
export async function settleDefinition(
  { store, keys, archive, bus }: Stores,
  definition: AuctionDefinition,
  maxPendingBytes: number,
): Promise<Settled> {
  const registered = await register(archive, definition);
  let { epoch } = registered;
  if ((await readAuction(store, keys)) === null) {
    if (registered.hasEvents) return { outcome: "lost" };
    const onStream = await streamState(await bus(), definition.uid);
    if (onStream !== null && onStream.lastSeq > 0) return { outcome: "lost" };
    // It was taken by a store before, and nothing of it reached us: what that store acknowledged after
    // its last archived event is gone with it, and must never be mistaken for what comes now.
    if (registered.wasDefined) epoch = await raiseEpoch(archive, definition.uid);
  }
  const defined = await defineLots(store, keys, definition, { epoch, maxPendingBytes });
  if (defined.outcome === "refused") return defined;
  await archive.query(
    "update auctions set defined_at = now() where auction_uid = $1 and defined_at is null",
    [definition.uid],
  );
  return { outcome: "defined" };
}

interface Registered {
  readonly epoch: number;
  readonly wasDefined: boolean;
  readonly hasEvents: boolean;
}

async function register(archive: Archive, definition: AuctionDefinition): Promise<Registered> {
  const { uid, name, title, currency, minorUnitDigits } = definition;
  const { rows } = await archive.query<{ epoch: string; defined: boolean; has_events: boolean }>(
    `insert into auctions (auction_uid, name, title, currency, minor_unit_digits, rules)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (auction_uid) do update set name = excluded.name, title = excluded.title,
       currency = excluded.currency, minor_unit_digits = excluded.minor_unit_digits,
       rules = excluded.rules
     returning epoch, defined_at is not null as defined,
       exists (select from events where events.auction_uid = $1) as has_events`,
    [uid, name, title, currency, minorUnitDigits, JSON.stringify(definition)],
  );
  const { epoch, defined, has_events } = rows[0]!;
  return { epoch: Number(epoch), wasDefined: defined, hasEvents: has_events };
}

async function raiseEpoch(archive: Archive, auctionUid: string): Promise<number> {
  const { rows } = await archive.query<{ epoch: string }>(
    "update auctions set epoch = epoch + 1 where auction_uid = $1 returning epoch",
    [auctionUid],
  );
  return Number(rows[0]!.epoch);
}
