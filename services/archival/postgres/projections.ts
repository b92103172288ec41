/** The projections bids, lots and results. They take each event once, when it is inserted. */
import type { BidAccepted, LotClosed, LotEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import type { Session } from "./connection.ts";
import type { ArchivedEvent } from "./batch.ts";

/** How a batch of events changes a lot; null for what the events do not say. */
interface LotChange {
  readonly lotId: string;
  readonly status: LotStatus;
  readonly leading: BidAccepted | null;
  readonly bids: number;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  readonly extensions: number;
  readonly epoch: number;
  readonly seq: number;
  readonly outboxId: string;
}

const STATUS_AFTER: Record<LotEvent["type"], LotStatus> = {
  lot_opened: "open",
  bid_accepted: "open",
  lot_extended: "open",
  lot_closed: "closed",
  lot_withdrawn: "withdrawn",
};

/** Sums up the events of each lot. They must be in the order of their lot. */
export function changesOf(events: readonly ArchivedEvent[]): LotChange[] {
  const changes = new Map<string, LotChange>();
  for (const { event, outboxId } of events) {
    const { lotId, epoch, seq, type } = event;
    const was = changes.get(lotId);
    changes.set(lotId, {
      lotId,
      status: STATUS_AFTER[type],
      leading: type === "bid_accepted" ? event : (was?.leading ?? null),
      bids: (was?.bids ?? 0) + (type === "bid_accepted" ? 1 : 0),
      opensAtMs: "opensAtMs" in event ? event.opensAtMs : (was?.opensAtMs ?? null),
      closesAtMs: "closesAtMs" in event ? event.closesAtMs : (was?.closesAtMs ?? null),
      extensions: "extensions" in event ? event.extensions : (was?.extensions ?? 0),
      epoch,
      seq,
      outboxId,
    });
  }
  return [...changes.values()];
}

export async function project(
  session: Session,
  auctionUid: string,
  events: readonly ArchivedEvent[],
): Promise<void> {
  const ofType = <T extends LotEvent["type"]>(type: T) =>
    events.map(({ event }) => event).filter((event) => event.type === type) as Extract<
      LotEvent,
      { type: T }
    >[];
  await insertBids(session, auctionUid, ofType("bid_accepted"));
  await changeLots(session, auctionUid, changesOf(events));
  await insertResults(session, auctionUid, ofType("lot_closed"));
}

async function insertBids(session: Session, auctionUid: string, bids: BidAccepted[]) {
  if (bids.length === 0) return;
  await session.query({
    text: `
      insert into public.bids (auction_uid, lot_id, epoch, seq, bid_id, bidder_id, amount_minor,
        idempotency_key, placed_at)
      select $1, lot_id, epoch, seq, bid_id, bidder_id, amount_minor, key,
        to_timestamp(at_ms / 1000)
      from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],
        $8::text[], $9::float8[])
        as b (lot_id, epoch, seq, bid_id, bidder_id, amount_minor, key, at_ms)`,
    values: [
      auctionUid,
      bids.map(({ lotId }) => lotId),
      bids.map(({ epoch }) => epoch),
      bids.map(({ seq }) => seq),
      bids.map(({ bidId }) => bidId),
      bids.map(({ bidderId }) => bidderId),
      bids.map(({ amountMinor }) => amountMinor),
      bids.map(({ key }) => key),
      bids.map(({ atMs }) => atMs),
    ],
  });
}

async function changeLots(session: Session, auctionUid: string, changes: LotChange[]) {
  if (changes.length === 0) return;
  const { rows } = await session.query<{ lot_id: string }>({
    text: `
      insert into public.lots (auction_uid, lot_id, status, leading_amount_minor, leading_bidder_id,
        leading_bid_id, bid_count, opens_at, closes_at, extensions, epoch, seq, outbox_id)
      select $1, lot_id, status, amount_minor, bidder_id, bid_id, bids,
        to_timestamp(opens_ms / 1000), to_timestamp(closes_ms / 1000), extensions, epoch, seq,
        outbox_id
      from unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],
        $8::float8[], $9::float8[], $10::integer[], $11::bigint[], $12::bigint[], $13::text[])
        as l (lot_id, status, amount_minor, bidder_id, bid_id, bids, opens_ms, closes_ms,
          extensions, epoch, seq, outbox_id)
      on conflict (auction_uid, lot_id) do update set
        status = excluded.status,
        leading_amount_minor = coalesce(excluded.leading_amount_minor, lots.leading_amount_minor),
        leading_bidder_id = coalesce(excluded.leading_bidder_id, lots.leading_bidder_id),
        leading_bid_id = coalesce(excluded.leading_bid_id, lots.leading_bid_id),
        bid_count = lots.bid_count + excluded.bid_count,
        opens_at = coalesce(excluded.opens_at, lots.opens_at),
        closes_at = coalesce(excluded.closes_at, lots.closes_at),
        extensions = greatest(excluded.extensions, lots.extensions),
        epoch = excluded.epoch,
        seq = excluded.seq,
        outbox_id = excluded.outbox_id
      where (excluded.epoch, excluded.seq) > (lots.epoch, lots.seq)
      returning lot_id`,
    values: [
      auctionUid,
      changes.map(({ lotId }) => lotId),
      changes.map(({ status }) => status),
      changes.map(({ leading }) => leading?.amountMinor ?? null),
      changes.map(({ leading }) => leading?.bidderId ?? null),
      changes.map(({ leading }) => leading?.bidId ?? null),
      changes.map(({ bids }) => bids),
      changes.map(({ opensAtMs }) => opensAtMs),
      changes.map(({ closesAtMs }) => closesAtMs),
      changes.map(({ extensions }) => extensions),
      changes.map(({ epoch }) => epoch),
      changes.map(({ seq }) => seq),
      changes.map(({ outboxId }) => outboxId),
    ],
  });
  const changed = new Set(rows.map(({ lot_id }) => lot_id));
  const late = changes.filter(({ lotId, bids }) => !changed.has(lotId) && bids > 0);
  if (late.length > 0) await countLateBids(session, auctionUid, late);
}

/** Counts the bids of a replayed dead letter: the lot is past them already. */
async function countLateBids(session: Session, auctionUid: string, late: LotChange[]) {
  await session.query(
    `update public.lots set bid_count = bid_count + late.bids
     from unnest($2::text[], $3::bigint[]) as late (lot_id, bids)
     where lots.auction_uid = $1 and lots.lot_id = late.lot_id`,
    [auctionUid, late.map(({ lotId }) => lotId), late.map(({ bids }) => bids)],
  );
}

async function insertResults(session: Session, auctionUid: string, closings: LotClosed[]) {
  if (closings.length === 0) return;
  // A statement may change a row once: of several closings of one lot (one an epoch) the last counts.
  const results = [...new Map(closings.map((closed) => [closed.lotId, closed])).values()];
  await session.query({
    text: `
      insert into public.results (auction_uid, lot_id, outcome, amount_minor, bidder_id, bid_id, closed_at,
        epoch, seq)
      select $1, lot_id, outcome, amount_minor, bidder_id, bid_id, to_timestamp(at_ms / 1000),
        epoch, seq
      from unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::float8[],
        $8::bigint[], $9::bigint[])
        as r (lot_id, outcome, amount_minor, bidder_id, bid_id, at_ms, epoch, seq)
      on conflict (auction_uid, lot_id) do update set
        outcome = excluded.outcome, amount_minor = excluded.amount_minor,
        bidder_id = excluded.bidder_id, bid_id = excluded.bid_id,
        closed_at = excluded.closed_at, epoch = excluded.epoch, seq = excluded.seq
      where (excluded.epoch, excluded.seq) > (results.epoch, results.seq)`,
    values: [
      auctionUid,
      results.map(({ lotId }) => lotId),
      results.map(({ outcome }) => outcome),
      results.map(({ amountMinor }) => amountMinor),
      results.map(({ bidderId }) => bidderId),
      results.map(({ bidId }) => bidId),
      results.map(({ atMs }) => atMs),
      results.map(({ epoch }) => epoch),
      results.map(({ seq }) => seq),
    ],
  });
}
