/** Marks of an auction that must outlive its Redis: suspended, fenced, verified, cleaned. */
import type { Fence } from "../../store/lot-changes.ts";
import type { Archive } from "./connection.ts";
import { WAITING } from "./dead-letters.ts";
import { epochMs } from "./time.ts";

/** The result of comparing Redis with the archive. */
export interface CompletenessProof {
  /** When the comparison began, by Redis's clock. */
  readonly atMs: number;
  readonly ok: boolean;
  /** How many were compared. */
  readonly lots: number;
  readonly events: number;
  /** The first differences, as text for a person. */
  readonly differences: readonly string[];
}

export interface AuctionMarks {
  readonly suspendedAtMs: number | null;
  readonly fence: Fence | null;
  readonly verified: CompletenessProof | null;
  /** The removal began: nothing is restored any more. */
  readonly cleaning: boolean;
  /** The auction is removed from Redis and JetStream. */
  readonly cleaned: boolean;
  /** How many dead letters were neither replayed nor discarded. */
  readonly deadLetters: number;
  /** Those of them that were in the outbox: the archive may lack their events. */
  readonly deadEntries: number;
}

const NONE: AuctionMarks = {
  suspendedAtMs: null,
  fence: null,
  verified: null,
  cleaning: false,
  cleaned: false,
  deadLetters: 0,
  deadEntries: 0,
};

/** An auction that the archive does not have has no marks. @throws when Postgres does not answer */
export async function readAuctionMarks(
  archive: Archive,
  auctionUid: string,
): Promise<AuctionMarks> {
  const { rows } = await archive.query<{
    suspended_ms: number | null;
    fenced_ms: number | null;
    fenced_id: string | null;
    verified: CompletenessProof | null;
    cleaning: boolean;
    cleaned: boolean;
    dead_letters: number;
    dead_entries: number;
  }>(
    `select ${epochMs("suspended_at")} as suspended_ms, ${epochMs("fenced_at")} as fenced_ms, fenced_id, verified,
       cleaning_at is not null as cleaning, cleaned_at is not null as cleaned,
       letters.waiting as dead_letters, letters.entries as dead_entries
     from public.auctions a cross join lateral (
       select count(*) as waiting, count(outbox_id) as entries
       from public.dead_letters d where d.auction_uid = a.auction_uid and ${WAITING}
     ) letters where auction_uid = $1`,
    [auctionUid],
  );
  const row = rows[0];
  if (row === undefined) return NONE;
  const { fenced_id: fencedId, fenced_ms: fencedAtMs, verified, cleaning, cleaned } = row;
  return {
    suspendedAtMs: row.suspended_ms,
    fence: fencedId === null ? null : { fencedId, fencedAtMs: fencedAtMs! },
    verified,
    cleaning,
    cleaned,
    deadLetters: row.dead_letters,
    deadEntries: row.dead_entries,
  };
}

/** The latest fence of the store replaces an earlier one: a restore gives it another id. */
export async function markFenced(
  archive: Archive,
  auctionUid: string,
  { fencedId, fencedAtMs }: Fence,
): Promise<void> {
  await archive.query(
    `update public.auctions set fenced_id = $2,
       fenced_at = coalesce(fenced_at, to_timestamp($3::float8 / 1000))
     where auction_uid = $1`,
    [auctionUid, fencedId, fencedAtMs],
  );
}

/**
 * Saves a proof, unless one that began later was saved while this one was made.
 * @param known what was saved when this one began: it is replaced also if Redis's clock went back
 */
export async function saveProof(
  archive: Archive,
  auctionUid: string,
  proof: CompletenessProof,
  known: CompletenessProof | null,
): Promise<void> {
  await archive.query(
    `update public.auctions set verified = $2, verified_at = case when $3 then now() else verified_at end
     where auction_uid = $1
       and (verified is not distinct from $4::jsonb or (verified->>'atMs')::bigint <= $5::bigint)`,
    [auctionUid, JSON.stringify(proof), proof.ok, known && JSON.stringify(known), proof.atMs],
  );
}

export async function markCleaning(archive: Archive, auctionUid: string): Promise<void> {
  await archive.query(
    "update public.auctions set cleaning_at = coalesce(cleaning_at, now()) where auction_uid = $1",
    [auctionUid],
  );
}

export async function markCleaned(archive: Archive, auctionUid: string): Promise<void> {
  await archive.query(
    "update public.auctions set cleaned_at = coalesce(cleaned_at, now()) where auction_uid = $1",
    [auctionUid],
  );
}
