import { decodeEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import type { Position } from "../../lot/position.ts";
import type { Archive } from "./connection.ts";
import { epochMs } from "./time.ts";

/** A lot after its latest archived event, as far as the archive knows it. */
export interface MonitoredLot extends Position {
  readonly atMs: number;
  readonly status: LotStatus;
  readonly closesAtMs: number | null;
  /** The lowest amount that the next bid may have. */
  readonly minimumMinor: number | null;
  readonly leading: { readonly bidId: string; readonly amountMinor: number } | null;
}

interface MonitoredLotRow {
  lot_id: string;
  status: LotStatus;
  epoch: number;
  seq: number;
  at_ms: number;
  closes_ms: number | null;
  leading_bid_id: string | null;
  amount: number | null;
  minimum_body: string | null;
}

/** Each lot by its projection, with the minimum of the latest event that announced one. */
export async function readMonitoredLots(
  archive: Archive,
  auctionUid: string,
): Promise<Map<string, MonitoredLot>> {
  const { rows } = await archive.query<MonitoredLotRow>(
    `select lots.lot_id, status, lots.epoch, lots.seq, ${epochMs("last.at")} as at_ms,
       ${epochMs("closes_at")} as closes_ms, leading_bid_id,
       leading_amount_minor as amount, announcing.body as minimum_body
     from public.lots
     join public.events last using (auction_uid, lot_id, epoch, seq)
     left join lateral (
       select body from public.events e
       where e.auction_uid = lots.auction_uid and e.lot_id = lots.lot_id
         and e.type in ('lot_opened', 'bid_accepted')
       order by e.epoch desc, e.seq desc limit 1
     ) announcing on true
     where lots.auction_uid = $1`,
    [auctionUid],
  );
  return new Map(rows.map((row) => [row.lot_id, lotOf(row)]));
}

function lotOf(row: MonitoredLotRow): MonitoredLot {
  const { status, epoch, seq, leading_bid_id: bidId, amount } = row;
  return {
    status,
    epoch,
    seq,
    atMs: row.at_ms,
    closesAtMs: row.closes_ms,
    minimumMinor: row.minimum_body === null ? null : minimumOf(row.minimum_body),
    leading: bidId === null || amount === null ? null : { bidId, amountMinor: amount },
  };
}

function minimumOf(body: string): number | null {
  try {
    const event = decodeEvent(body);
    return "minimumMinor" in event ? event.minimumMinor : null;
  } catch {
    return null; // The archive did not write this row; the completeness proof finds it.
  }
}
