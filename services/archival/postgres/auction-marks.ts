/** What the archive keeps of an auction's end: marks that must outlive its Redis. */
import type { Fence } from "../../store/lifecycle.ts";
import type { Archive } from "./connection.ts";

/** What a comparison of Redis with the archive found. */
export interface Verified {
  /** By Redis's clock. */
  readonly atMs: number;
  readonly ok: boolean;
  /** Compared. */
  readonly lots: number;
  readonly events: number;
  /** What differs, for a person; the first of them. */
  readonly differences: readonly string[];
}

export interface Marks {
  readonly suspendedAtMs: number | null;
  readonly fence: Fence | null;
  readonly verified: Verified | null;
  /** It is being removed, or is: nothing is put back any more. */
  readonly cleaning: boolean;
  /** It is gone from Redis and JetStream. */
  readonly cleaned: boolean;
  /** Dead letters that were not replayed. */
  readonly deadLetters: number;
}

const NONE: Marks = {
  suspendedAtMs: null,
  fence: null,
  verified: null,
  cleaning: false,
  cleaned: false,
  deadLetters: 0,
};

const MS = (column: string) => `round(extract(epoch from ${column}) * 1000)::float8`;

/** None of an auction that the archive does not know. @throws when Postgres does not answer */
export async function readMarks(archive: Archive, auctionUid: string): Promise<Marks> {
  const { rows } = await archive.query<{
    suspended_ms: number | null;
    fenced_ms: number | null;
    fenced_id: string | null;
    verified: Verified | null;
    cleaning: boolean;
    cleaned: boolean;
    dead_letters: string;
  }>(
    `select ${MS("suspended_at")} as suspended_ms, ${MS("fenced_at")} as fenced_ms, fenced_id, verified,
       cleaning_at is not null as cleaning, cleaned_at is not null as cleaned,
       (select count(*) from dead_letters d
        where d.auction_uid = a.auction_uid and replayed_at is null) as dead_letters
     from auctions a where auction_uid = $1`,
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
    deadLetters: Number(row.dead_letters),
  };
}

export async function markSuspended(
  archive: Archive,
  auctionUid: string,
  atMs: number | null,
): Promise<void> {
  await archive.query(
    "update auctions set suspended_at = to_timestamp($2::float8 / 1000) where auction_uid = $1",
    [auctionUid, atMs],
  );
}

/** The latest word of the store counts: after a restore the last id is another one. */
export async function markFenced(
  archive: Archive,
  auctionUid: string,
  { fencedId, fencedAtMs }: Fence,
): Promise<void> {
  await archive.query(
    `update auctions set fenced_id = $2,
       fenced_at = coalesce(fenced_at, to_timestamp($3::float8 / 1000))
     where auction_uid = $1`,
    [auctionUid, fencedId, fencedAtMs],
  );
}

export async function markVerified(
  archive: Archive,
  auctionUid: string,
  verified: Verified,
): Promise<void> {
  await archive.query(
    `update auctions set verified = $2, verified_at = case when $3 then now() else verified_at end
     where auction_uid = $1`,
    [auctionUid, JSON.stringify(verified), verified.ok],
  );
}

export async function markCleaning(archive: Archive, auctionUid: string): Promise<void> {
  await archive.query(
    "update auctions set cleaning_at = coalesce(cleaning_at, now()) where auction_uid = $1",
    [auctionUid],
  );
}

export async function markCleaned(archive: Archive, auctionUid: string): Promise<void> {
  await archive.query(
    "update auctions set cleaned_at = coalesce(cleaned_at, now()) where auction_uid = $1",
    [auctionUid],
  );
}
