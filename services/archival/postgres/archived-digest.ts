/** Digests of archived events: for the completeness proof, and for lots that are restored. */
import { decodeEvent, type LotEvent } from "../../lot/events.ts";
import { type Digest, digestAfter, NO_EVENTS } from "../../store/digest.ts";
import type { Archive } from "./connection.ts";

const PAGE_EVENTS = 5_000;

interface ArchivedDigest extends Digest {
  readonly events: number;
  readonly epoch: number;
  readonly seq: number;
}

const NO_ROWS: ArchivedDigest = { ...NO_EVENTS, events: 0, epoch: 0, seq: 0 };

/** The digest of a lot's archived events, in their order. @throws when Postgres does not answer */
export async function readArchivedDigest(
  archive: Archive,
  auctionUid: string,
  lotId: string,
): Promise<ArchivedDigest> {
  let digest = NO_ROWS;
  for (;;) {
    const { rows } = await archive.query<{ epoch: number; seq: number; body: string }>(
      `select epoch, seq, body from public.events
       where auction_uid = $1 and lot_id = $2 and (epoch, seq) > ($3::bigint, $4::bigint)
       order by epoch, seq limit $5`,
      [auctionUid, lotId, digest.epoch, digest.seq, PAGE_EVENTS],
    );
    for (const { epoch, seq, body } of rows) {
      const after = digestAfter(digest, eventOf(body), body);
      const events = digest.events + 1;
      digest = { ...after, events, epoch, seq };
    }
    if (rows.length < PAGE_EVENTS) return digest;
  }
}

/** Null for a row that is not an event: the chain of the digest then differs. */
function eventOf(body: string): LotEvent | null {
  try {
    return decodeEvent(body);
  } catch {
    return null;
  }
}

/** How many rows the bids table has of each lot. */
export async function countBidRows(
  archive: Archive,
  auctionUid: string,
): Promise<Map<string, number>> {
  const { rows } = await archive.query<{ lot_id: string; bids: number }>(
    "select lot_id, count(*) as bids from public.bids where auction_uid = $1 group by lot_id",
    [auctionUid],
  );
  return new Map(rows.map(({ lot_id, bids }) => [lot_id, bids]));
}

/** The archived lots that are not among `lotIds`. */
export async function readOtherLotIds(
  archive: Archive,
  auctionUid: string,
  lotIds: readonly string[],
): Promise<string[]> {
  const { rows } = await archive.query<{ lot_id: string }>(
    "select lot_id from public.lots where auction_uid = $1 and not lot_id = any($2) order by lot_id",
    [auctionUid, lotIds],
  );
  return rows.map(({ lot_id }) => lot_id);
}
