/** The bids and the result of a lot, which the gateway serves when the store has them no more. */
import type { Outcome } from "../../lot/events.ts";
import type { Position } from "../../lot/position.ts";
import type { Archive } from "./connection.ts";
import { epochMs } from "./time.ts";

interface ArchivedBid {
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
  readonly epoch: number;
  readonly seq: number;
  readonly placedAtMs: number;
}

interface BidRow {
  bid_id: string;
  bidder_id: string;
  amount_minor: number;
  epoch: number;
  seq: number;
  placed_ms: number;
}

/** A lot's bids before `before` (null: from the newest), newest first. */
export async function readBidsBefore(
  archive: Archive,
  auctionUid: string,
  lotId: string,
  before: Position | null,
  limit: number,
): Promise<{ bids: ArchivedBid[]; nextCursor: string | null }> {
  const { epoch, seq } = before ?? { epoch: Number.MAX_SAFE_INTEGER, seq: 0 };
  const { rows } = await archive.query<BidRow>(
    `select bid_id, bidder_id, amount_minor, epoch, seq, ${epochMs("placed_at")} as placed_ms
     from public.bids
     where auction_uid = $1 and lot_id = $2 and (epoch, seq) < ($3::bigint, $4::bigint)
     order by epoch desc, seq desc limit $5`,
    [auctionUid, lotId, epoch, seq, limit + 1],
  );
  const bids = rows.slice(0, limit).map((row) => ({
    bidId: row.bid_id,
    bidderId: row.bidder_id,
    amountMinor: row.amount_minor,
    epoch: row.epoch,
    seq: row.seq,
    placedAtMs: row.placed_ms,
  }));
  const last = bids.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { bids, nextCursor: more ? `${last.epoch}.${last.seq}` : null };
}

interface ArchivedResult {
  readonly lotId: string;
  readonly outcome: Outcome;
  readonly bidId: string | null;
  readonly bidderId: string | null;
  readonly amountMinor: number | null;
  readonly closedAtMs: number;
}

/** Null for a lot that has not closed, or whose close is not archived yet. */
export async function readResult(
  archive: Archive,
  auctionUid: string,
  lotId: string,
): Promise<ArchivedResult | null> {
  const { rows } = await archive.query<{
    outcome: Outcome;
    bid_id: string | null;
    bidder_id: string | null;
    amount_minor: number | null;
    closed_ms: number;
  }>(
    `select outcome, bid_id, bidder_id, amount_minor, ${epochMs("closed_at")} as closed_ms
     from public.results
     where auction_uid = $1 and lot_id = $2`,
    [auctionUid, lotId],
  );
  const row = rows[0];
  if (row === undefined) return null;
  return {
    lotId,
    outcome: row.outcome,
    bidId: row.bid_id,
    bidderId: row.bidder_id,
    amountMinor: row.amount_minor,
    closedAtMs: row.closed_ms,
  };
}
