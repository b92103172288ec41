/** The tail of each lot: its latest archived event, by which a missing event is found. */
import { follows, isBehind, type Position, START } from "../../lot/position.ts";
import { compareIds } from "../../store/outbox.ts";
import type { Archive } from "./connection.ts";
import { PARTITION } from "./partition.ts";

/** The latest event of a lot in the archive. */
export interface Tail extends Position {
  /** The events after this one are recorded as missing: the next event may leave a gap. */
  readonly knownGap: boolean;
}

export interface Tails {
  readonly lots: Map<string, Tail>;
  /** For a lot without archived events. */
  readonly initial: Tail;
}

export async function readTails(archive: Archive, auctionUid: string): Promise<Tails> {
  const { rows: lots } = await archive.query<{
    lot_id: string;
    epoch: number;
    seq: number;
    outbox_id: string;
  }>("select lot_id, epoch, seq, outbox_id from public.lots where auction_uid = $1", [auctionUid]);
  const { rows: gaps } = await archive.query<{ lot_id: string | null; id: string }>(
    `select distinct on (lot_id) lot_id, coalesce(after_id, outbox_id) as id
     from public.dead_letters
     where auction_uid = $1 and partition = $2 and outbox_id is not null
       and reason in ('undecodable', 'refused', 'lost')
     order by lot_id, dead_letter_id desc`,
    [auctionUid, PARTITION],
  );
  // A dead letter "lost" has no lot: it concerns all of them.
  const lostAfterId = gaps.find(({ lot_id }) => lot_id === null)?.id;
  const gapIds = new Map(gaps.map(({ lot_id, id }) => [lot_id, id]));
  const hasKnownGap = (lotId: string, tailId: string): boolean => {
    const gapId = gapIds.get(lotId);
    return (
      (gapId !== undefined && compareIds(gapId, tailId) > 0) ||
      (lostAfterId !== undefined && compareIds(lostAfterId, tailId) >= 0)
    );
  };
  const tails = new Map<string, Tail>();
  for (const lotId of gapIds.keys()) {
    if (lotId !== null) tails.set(lotId, { ...START, knownGap: true });
  }
  for (const { lot_id, epoch, seq, outbox_id } of lots) {
    const knownGap = hasKnownGap(lot_id, outbox_id);
    tails.set(lot_id, { epoch, seq, knownGap });
  }
  return { lots: tails, initial: { ...START, knownGap: lostAfterId !== undefined } };
}

/** Whether events of the lot are missing between its tail and this event. */
export function isGap(tail: Tail, event: Position): boolean {
  if (tail.knownGap || follows(event, tail) || !isBehind(tail, event)) return false;
  // The restore that began a new epoch chose its first seq: nothing else is known about it.
  return tail.epoch === START.epoch || event.epoch === tail.epoch;
}
