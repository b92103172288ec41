/** How far an outbox is in the archive. Postgres's word is the only one; Redis and JetStream follow it. */
import { follows, isBehind, type Position, START } from "../../lot/position.ts";
import { compareIds } from "../../store/outbox.ts";
import type { Archive, Session } from "../postgres/connection.ts";
import { PairFailure } from "./pipeline-failure.ts";
import type { Partition } from "./record.ts";

/** The highest outbox id up to which all is committed. "0-0" for an outbox never seen. */
export async function readWatermark(archive: Archive, of: Partition): Promise<string> {
  const { rows } = await archive.query<{ outbox_id: string }>(
    `insert into watermarks (auction_uid, partition, outbox_id) values ($1, $2, '0-0')
     on conflict (auction_uid, partition) do update set partition = excluded.partition
     returning outbox_id`,
    [of.auctionUid, of.partition],
  );
  return rows[0]!.outbox_id;
}

/**
 * Moves the watermark in the transaction of the rows that it speaks of. It locks the row first, so that of
 * two archives one waits, and then finds that it is not its turn.
 * @throws PairFailure "superseded" where it is not at `fromId`: another archive moved it, or Postgres was
 *   restored to an earlier day
 */
export async function moveWatermark(
  session: Session,
  of: Partition,
  fromId: string,
  toId: string,
): Promise<void> {
  const { rowCount } = await session.query({
    name: "move-watermark",
    text: `
      update watermarks set outbox_id = $4, updated_at = now()
      where auction_uid = $1 and partition = $2 and outbox_id = $3`,
    values: [of.auctionUid, of.partition, fromId, toId],
  });
  if (rowCount !== 1) throw new PairFailure("superseded", `the watermark is not at ${fromId}`);
}

/** The latest event of a lot in the archive. */
export interface Tail extends Position {
  /** The next event may leave a gap: what lies between is known to be missing, and recorded as such. */
  readonly bridged: boolean;
}

/** The tails of all lots, and of a lot that the archive has nothing of. */
export interface Tails {
  readonly lots: Map<string, Tail>;
  readonly unknown: Tail;
}

export async function readTails(archive: Archive, of: Partition): Promise<Tails> {
  const { auctionUid, partition } = of;
  const { rows: lots } = await archive.query<{
    lot_id: string;
    epoch: string;
    seq: string;
    outbox_id: string;
  }>("select lot_id, epoch, seq, outbox_id from lots where auction_uid = $1", [auctionUid]);
  const { rows: holes } = await archive.query<{ lot_id: string | null; id: string }>(
    `select distinct on (lot_id) lot_id, coalesce(after_id, outbox_id) as id
     from dead_letters
     where auction_uid = $1 and partition = $2 and outbox_id is not null
       and reason in ('undecodable', 'refused', 'lost')
     order by lot_id, dead_letter_id desc`,
    [auctionUid, partition],
  );
  // A loss is of all lots: it is the one without a lot.
  const lostAfterId = holes.find(({ lot_id }) => lot_id === null)?.id;
  const holeOf = new Map(holes.map(({ lot_id, id }) => [lot_id, id]));
  const isBridged = (lotId: string, tailId: string): boolean => {
    const holeId = holeOf.get(lotId);
    return (
      (holeId !== undefined && compareIds(holeId, tailId) > 0) ||
      (lostAfterId !== undefined && compareIds(lostAfterId, tailId) >= 0)
    );
  };
  const tails = new Map<string, Tail>();
  for (const lotId of holeOf.keys()) {
    if (lotId !== null) tails.set(lotId, { ...START, bridged: true });
  }
  for (const { lot_id, epoch, seq, outbox_id } of lots) {
    const bridged = isBridged(lot_id, outbox_id);
    tails.set(lot_id, { epoch: Number(epoch), seq: Number(seq), bridged });
  }
  return { lots: tails, unknown: { ...START, bridged: lostAfterId !== undefined } };
}

/** Whether events of a lot are missing between its tail and this event of it. */
export function isGap(tail: Tail, event: Position): boolean {
  if (tail.bridged || follows(event, tail) || !isBehind(tail, event)) return false;
  // A new epoch goes on above all that was known when it began; what that was, only restore knows.
  return tail.epoch === START.epoch || event.epoch === tail.epoch;
}
