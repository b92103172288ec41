/** The archived lots and their recent events: what a restore writes into Redis. */
import { type BidAccepted, decodeEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import type { Answered, LotState, StreamEntry } from "../../store/restore.ts";
import type { Archive } from "./connection.ts";
import { epochMs } from "./time.ts";

export interface ArchivedLot extends LotState {
  readonly epoch: number;
}

/** Each lot after its latest archived event. */
export async function readArchivedLots(
  archive: Archive,
  auctionUid: string,
): Promise<Map<string, ArchivedLot>> {
  const { rows } = await archive.query<ArchivedLotRow>(
    `select lot_id, status, epoch, seq, ${epochMs("at")} as at_ms,
       ${epochMs("opens_at")} as opens_ms, ${epochMs("closes_at")} as closes_ms, extensions,
       bid_count, leading_bid_id, leading_bidder_id, leading_amount_minor as amount
     from public.lots join public.events using (auction_uid, lot_id, epoch, seq)
     where auction_uid = $1`,
    [auctionUid],
  );
  return new Map(rows.map((row) => [row.lot_id, lotOf(row)]));
}

interface ArchivedLotRow {
  lot_id: string;
  status: LotStatus;
  epoch: number;
  seq: number;
  at_ms: number;
  opens_ms: number | null;
  closes_ms: number | null;
  extensions: number;
  bid_count: number;
  leading_bid_id: string | null;
  leading_bidder_id: string | null;
  amount: number | null;
}

function lotOf(row: ArchivedLotRow): ArchivedLot {
  return {
    status: row.status,
    epoch: row.epoch,
    seq: row.seq,
    atMs: row.at_ms,
    opensAtMs: row.opens_ms,
    closesAtMs: row.closes_ms,
    extensions: row.extensions,
    bidCount: row.bid_count,
    leadingBid:
      row.leading_bid_id === null
        ? null
        : {
            bidId: row.leading_bid_id,
            bidderId: row.leading_bidder_id!,
            amountMinor: row.amount!,
          },
  };
}

const PAGE_EVENTS = 2_000;

interface EventRow {
  epoch: number;
  seq: number;
  body: string;
  outbox_id: string;
  at_ms: number;
}

/**
 * The latest events of a lot, newest first, page by page: the first page, and then each page that begins
 * after `sinceMs`.
 */
async function* latestEvents(
  archive: Archive,
  auctionUid: string,
  lotId: string,
  sinceMs: number,
): AsyncGenerator<EventRow[]> {
  let before: [number, number] = [Number.MAX_SAFE_INTEGER, 0];
  for (;;) {
    const { rows } = await archive.query<EventRow>(
      `select epoch, seq, body, outbox_id, ${epochMs("at")} as at_ms from public.events
       where auction_uid = $1 and lot_id = $2 and (epoch, seq) < ($3::bigint, $4::bigint)
       order by epoch desc, seq desc limit $5`,
      [auctionUid, lotId, ...before, PAGE_EVENTS],
    );
    if (rows.length > 0) yield rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE_EVENTS || last.at_ms < sinceMs) return;
    before = [last.epoch, last.seq];
  }
}

/**
 * Reads what viewers and bidders may still ask for: the latest events of a lot, as entries of its stream.
 * @param onAnswers gets the answers to the bids since `sinceMs`, a page at a time
 */
export async function readRecentEntries(
  archive: Archive,
  auctionUid: string,
  lotId: string,
  sinceMs: number,
  onAnswers: (answers: readonly Answered[]) => Promise<void>,
): Promise<StreamEntry[]> {
  let entries: StreamEntry[] | null = null;
  for await (const rows of latestEvents(archive, auctionUid, lotId, sinceMs)) {
    entries ??= entriesOf(rows.toReversed());
    const bids = rows
      .filter(({ at_ms }) => at_ms >= sinceMs)
      .map(({ body }) => decodeEvent(body))
      .filter((event) => event.type === "bid_accepted");
    await onAnswers(bids.map(answeredOf));
  }
  return entries ?? [];
}

/** Events of one outbox entry become one stream entry. */
function entriesOf(rows: readonly EventRow[]): StreamEntry[] {
  const entries: { outboxId: string; id: string; events: string }[] = [];
  for (const { epoch, seq, body, outbox_id: outboxId } of rows) {
    const last = entries.at(-1);
    const id = `${epoch}-${seq}`;
    if (last?.outboxId !== outboxId) entries.push({ outboxId, id, events: body });
    else Object.assign(last, { id, events: `${last.events}\n${body}` });
  }
  return entries;
}

/** The answer that the bidder got. */
export function answeredOf(bid: BidAccepted): Answered {
  const { lotId, bidId, bidderId, key, amountMinor, epoch, seq, atMs: placedAtMs } = bid;
  const { closesAtMs, minimumMinor } = bid;
  const answer = { bidId, lotId, amountMinor, epoch, seq, placedAtMs, closesAtMs, minimumMinor };
  return { bidderId, key, accepted: { outcome: "accepted", ...answer } };
}
