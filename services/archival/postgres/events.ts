/** The events table: the permanent record, one row for each event. */
import type { ArchivedEvent } from "./batch.ts";
import type { Archive, Session } from "./connection.ts";

interface InsertedEvents {
  /** Inserted now, in their order. */
  readonly insertedEvents: readonly ArchivedEvent[];
  /** How many were archived before, with the same text. */
  readonly repeated: number;
  /** Events whose position is taken by an event with another text. */
  readonly conflicting: readonly ArchivedEvent[];
}

const keyOf = (lotId: string, epoch: number, seq: number) => `${lotId} ${epoch}.${seq}`;

/** Inserts the events whose positions are free. */
export async function insertEvents(
  session: Session,
  auctionUid: string,
  events: readonly ArchivedEvent[],
): Promise<InsertedEvents> {
  const byKey = new Map<string, ArchivedEvent>();
  const conflicting: ArchivedEvent[] = [];
  let repeated = 0;
  for (const archived of events) {
    const { lotId, epoch, seq } = archived.event;
    const earlier = byKey.get(keyOf(lotId, epoch, seq));
    if (earlier === undefined) byKey.set(keyOf(lotId, epoch, seq), archived);
    else if (earlier.body === archived.body) repeated++;
    else conflicting.push(archived);
  }
  const unique = [...byKey.values()];
  if (unique.length === 0) return { insertedEvents: [], repeated, conflicting };

  const { rows } = await session.query<{ lot_id: string; epoch: number; seq: number }>({
    text: `
      insert into public.events (auction_uid, lot_id, epoch, seq, type, at, body, outbox_id)
      select $1, lot_id, epoch, seq, type, to_timestamp(at_ms / 1000), body, outbox_id
      from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::float8[], $7::text[],
        $8::text[]) as e (lot_id, epoch, seq, type, at_ms, body, outbox_id)
      on conflict (auction_uid, lot_id, epoch, seq) do nothing
      returning lot_id, epoch, seq`,
    values: [
      auctionUid,
      unique.map(({ event }) => event.lotId),
      unique.map(({ event }) => event.epoch),
      unique.map(({ event }) => event.seq),
      unique.map(({ event }) => event.type),
      unique.map(({ event }) => event.atMs),
      unique.map(({ body }) => body),
      unique.map(({ outboxId }) => outboxId),
    ],
  });
  const returned = new Set(rows.map(({ lot_id, epoch, seq }) => keyOf(lot_id, epoch, seq)));
  const isFresh = ({ event }: ArchivedEvent) =>
    returned.has(keyOf(event.lotId, event.epoch, event.seq));
  const present = unique.filter((archived) => !isFresh(archived));
  const different = await findDifferent(session, auctionUid, present);
  return {
    insertedEvents: unique.filter(isFresh),
    repeated: repeated + present.length - different.length,
    conflicting: [...conflicting, ...different],
  };
}

/** The events that differ from the archived event at the same position. */
async function findDifferent(
  session: Session,
  auctionUid: string,
  events: readonly ArchivedEvent[],
): Promise<ArchivedEvent[]> {
  if (events.length === 0) return [];
  const { rows } = await session.query<{ at: number }>({
    text: `
      select given.at
      from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[])
        with ordinality as given (lot_id, epoch, seq, body, at)
      join public.events using (lot_id, epoch, seq)
      where events.auction_uid = $1 and events.body <> given.body`,
    values: [
      auctionUid,
      events.map(({ event }) => event.lotId),
      events.map(({ event }) => event.epoch),
      events.map(({ event }) => event.seq),
      events.map(({ body }) => body),
    ],
  });
  return rows.map(({ at }) => events[at - 1]!);
}

export async function hasEvents(archive: Archive, auctionUid: string): Promise<boolean> {
  const { rows } = await archive.query<{ found: boolean }>(
    "select exists (select from public.events where auction_uid = $1) as found",
    [auctionUid],
  );
  return rows[0]!.found;
}
