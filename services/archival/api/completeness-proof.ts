/** Whether the archive has every event of an auction: recomputed from its rows, lot by lot. */
import { decodeEvent, type LotEvent } from "../../lot/events.ts";
import { type Store, storeClockMs } from "../../store/connect.ts";
import { type Digest, digestAfter, NO_EVENTS } from "../../store/digest.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readDigests } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { markVerified, readMarks, type Verified } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import { readWatermark } from "../pipeline/watermark.ts";

/** Told of one comparison; the rest is counted. */
const DIFFERENCES_MAX = 20;

const PAGE_EVENTS = 5_000;

export interface VerifyOf {
  readonly of: Partition;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
}

/** What the rows of a lot come to. */
export interface ArchivedDigest extends Digest {
  readonly events: number;
  readonly epoch: number;
  readonly seq: number;
}

const NO_ROWS: ArchivedDigest = { ...NO_EVENTS, events: 0, epoch: 0, seq: 0 };

/** Of a lot's archived events, in their order. @throws when Postgres does not answer */
export async function readArchivedDigest(
  archive: Archive,
  auctionUid: string,
  lotId: string,
): Promise<ArchivedDigest> {
  let digest = NO_ROWS;
  for (;;) {
    const { rows } = await archive.query<{ epoch: string; seq: string; body: string }>(
      `select epoch, seq, body from events
       where auction_uid = $1 and lot_id = $2 and (epoch, seq) > ($3::bigint, $4::bigint)
       order by epoch, seq limit $5`,
      [auctionUid, lotId, digest.epoch, digest.seq, PAGE_EVENTS],
    );
    for (const { epoch, seq, body } of rows) {
      const after = digestAfter(digest, eventOf(body), body);
      const events = digest.events + 1;
      digest = { ...after, events, epoch: Number(epoch), seq: Number(seq) };
    }
    if (rows.length < PAGE_EVENTS) return digest;
  }
}

/** Null for a row that is no event, which then shows in the chain. */
function eventOf(body: string): LotEvent | null {
  try {
    return decodeEvent(body);
  } catch {
    return null;
  }
}

/**
 * Compares what Redis keeps of all events with the archive's rows, and keeps the outcome in the archive. A
 * fence and an archive that has come up to it are part of it. Null where the store has no auction.
 * @throws when a store does not answer
 */
export async function verifyArchive(parts: VerifyOf): Promise<Verified | null> {
  const { of, store, keys, archive } = parts;
  const { auctionUid } = of;
  const auction = await readAuction(store, keys);
  if (auction === null) return null;
  const differences: string[] = [];
  const { fencedId, lotIds } = auction;
  const archivedId = await readWatermark(archive, of);
  if (fencedId === null) differences.push("the auction is not fenced");
  else if (compareIds(archivedId, fencedId) < 0) {
    differences.push(`archived up to ${archivedId}, fenced at ${fencedId}`);
  }
  const { deadLetters } = await readMarks(archive, auctionUid);
  if (deadLetters > 0) differences.push(`${deadLetters} dead letters wait for a replay`);

  const kept = await readDigests(store, keys, lotIds);
  const bids = await readBidRows(archive, auctionUid);
  let events = 0;
  for (const [i, lotId] of lotIds.entries()) {
    const rows = await readArchivedDigest(archive, auctionUid, lotId);
    events += rows.events;
    const tell = (what: string, has: unknown, is: unknown) => {
      if (has !== is) differences.push(`lot ${lotId}: ${what}: archived ${has}, decided ${is}`);
    };
    const lot = kept[i];
    if (!lot) {
      differences.push(`lot ${lotId} is not in the store`);
      continue;
    }
    tell("bids", rows.bidCount, lot.bidCount);
    tell("sum of bids (mod 10^15)", rows.sumMinor, lot.sumMinor);
    tell("chain of events", rows.chain, lot.chain);
    tell("rows of bids", bids.get(lotId) ?? 0, lot.bidCount);
  }
  for (const lotId of await readOtherLots(archive, auctionUid, lotIds)) {
    differences.push(`lot ${lotId} is archived, and not in the store`);
  }
  const verified: Verified = {
    atMs: await storeClockMs(store),
    ok: differences.length === 0,
    lots: lotIds.length,
    events,
    differences: shortened(differences),
  };
  await markVerified(archive, auctionUid, verified);
  return verified;
}

function shortened(differences: readonly string[]): string[] {
  const rest = differences.length - DIFFERENCES_MAX;
  const told = differences.slice(0, DIFFERENCES_MAX);
  return rest > 0 ? [...told, `and ${rest} more`] : told;
}

async function readBidRows(archive: Archive, auctionUid: string): Promise<Map<string, number>> {
  const { rows } = await archive.query<{ lot_id: string; bids: string }>(
    "select lot_id, count(*) as bids from bids where auction_uid = $1 group by lot_id",
    [auctionUid],
  );
  return new Map(rows.map(({ lot_id, bids }) => [lot_id, Number(bids)]));
}

async function readOtherLots(
  archive: Archive,
  auctionUid: string,
  lotIds: readonly string[],
): Promise<string[]> {
  const { rows } = await archive.query<{ lot_id: string }>(
    "select lot_id from lots where auction_uid = $1 and not lot_id = any($2) order by lot_id",
    [auctionUid, lotIds],
  );
  return rows.map(({ lot_id }) => lot_id);
}
