/** The auctions table: the registered auctions and their rules. */
import type { Rules } from "../../lot/terms.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";
import type { Archive } from "./connection.ts";

interface RegisteredAuction {
  readonly epoch: number;
  /** The definition that a store took last; null if none took one. */
  readonly saved: AuctionDefinition | null;
}

/** Inserts the auction if the archive does not have it. */
export async function registerAuction(
  archive: Archive,
  definition: AuctionDefinition,
): Promise<RegisteredAuction> {
  const { uid, name, title, currency, minorUnitDigits } = definition;
  const { rows } = await archive.query<{
    epoch: number;
    defined: boolean;
    rules: StoredDefinition;
  }>(
    `insert into public.auctions (auction_uid, name, title, currency, minor_unit_digits, rules)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (auction_uid) do update set auction_uid = excluded.auction_uid
     returning epoch, defined_at is not null as defined, rules`,
    [uid, name, title, currency, minorUnitDigits, JSON.stringify(definition)],
  );
  const { epoch, defined, rules } = rows[0]!;
  return { epoch, saved: defined ? currentDefinition(rules) : null };
}

/** Saves the rules that the store took, unless it took newer ones since. @param suspendedAtMs as the store has it */
export async function saveDefinition(
  archive: Archive,
  definition: AuctionDefinition,
  suspendedAtMs: number | null,
): Promise<void> {
  const { uid, name, title, currency, minorUnitDigits, generation } = definition;
  await archive.query(
    `update public.auctions set name = $2, title = $3, currency = $4, minor_unit_digits = $5, rules = $6,
       suspended_at = to_timestamp($7::float8 / 1000), defined_at = coalesce(defined_at, now())
     where auction_uid = $1
       and (defined_at is null or $8::bigint = 0
         or coalesce((rules->>'generation')::bigint, 0) <= $8::bigint)`,
    [
      uid,
      name,
      title,
      currency,
      minorUnitDigits,
      JSON.stringify(definition),
      suspendedAtMs,
      generation,
    ],
  );
}

/** Rows of an earlier version lack `suspended` and `generation`, and their rules lack `maxJump`. */
export type StoredDefinition = Omit<AuctionDefinition, "suspended" | "generation" | "rules"> & {
  readonly suspended?: boolean;
  readonly generation?: number;
  readonly rules: Omit<Rules, "maxJump"> & Partial<Rules>;
};

export function currentDefinition(stored: StoredDefinition): AuctionDefinition {
  return { suspended: false, generation: 0, ...stored, rules: { maxJump: null, ...stored.rules } };
}

/** The rules that the store took last. Null for an auction that the archive does not have. */
export async function readSavedDefinition(
  archive: Archive,
  auctionUid: string,
): Promise<AuctionDefinition | null> {
  const { rows } = await archive.query<{ rules: StoredDefinition }>(
    "select rules from public.auctions where auction_uid = $1",
    [auctionUid],
  );
  return rows[0] ? currentDefinition(rows[0].rules) : null;
}

/** @returns an epoch above `above` and above every epoch that this auction had */
export async function raiseEpoch(archive: Archive, auctionUid: string, above = 0): Promise<number> {
  const { rows } = await archive.query<{ epoch: number }>(
    "update public.auctions set epoch = greatest(epoch, $2) + 1 where auction_uid = $1 returning epoch",
    [auctionUid, above],
  );
  return rows[0]!.epoch;
}
