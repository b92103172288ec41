/**
 * What one transaction writes: events, what is read off them, what could not be archived, and how far the
 * outbox is in here now. All of it or nothing.
 */
import type { LotEvent } from "../../lot/events.ts";
import { insertDeadLetters, type DeadLetter } from "../postgres/dead-letters.ts";
import {
  type Archive,
  inTransaction,
  isRefusedData,
  type Session,
} from "../postgres/connection.ts";
import { project } from "../postgres/projections.ts";
import { moveWatermark } from "./watermark.ts";

export interface ArchivedEvent {
  readonly event: LotEvent;
  /** Its exact text. */
  readonly body: string;
  readonly outboxId: string;
}

/** An outbox entry that could be read: the events of one script call, of one lot. */
export interface Entry {
  readonly outboxId: string;
  readonly lotId: string;
  readonly events: readonly ArchivedEvent[];
  readonly bytes: Uint8Array;
}

export interface Batch {
  readonly entries: readonly Entry[];
  readonly letters: readonly DeadLetter[];
  /** Where the watermark must stand, and where it goes. */
  readonly fromId: string;
  readonly toId: string;
}

export interface Recorded {
  readonly inserted: number;
  /** Those inserted, in their order. */
  readonly fresh: readonly ArchivedEvent[];
  /** Were there already, with the same contents. */
  readonly repeated: number;
  readonly letters: readonly DeadLetter[];
}

export interface Partition {
  readonly auctionUid: string;
  readonly partition: number;
}

/**
 * Writes a batch. Repeating it changes nothing. Where Postgres refuses values as such, the entries are
 * written one by one, and those that it refuses become dead letters.
 * @throws Superseded when the watermark is not at `fromId`; else what Postgres threw: nothing was written,
 *   or COMMIT was not answered
 */
export async function record(archive: Archive, of: Partition, batch: Batch): Promise<Recorded> {
  const write = (insert: typeof insertTogether) =>
    inTransaction(archive, async (session) => {
      await moveWatermark(session, of, batch.fromId, batch.toId);
      const { letters, ...recorded } = await insert(session, of.auctionUid, batch.entries);
      const all = [...batch.letters, ...letters];
      await insertDeadLetters(session, of, all);
      return { ...recorded, letters: all };
    });
  try {
    return await write(insertTogether);
  } catch (error) {
    if (!isRefusedData(error)) throw error;
    return write(insertOneByOne);
  }
}

/** Within a transaction of the caller's. @throws a refusal (isRefusedData) that spoils the transaction */
export async function insertTogether(
  session: Session,
  auctionUid: string,
  entries: readonly Entry[],
): Promise<Recorded> {
  const events = entries.flatMap((entry) => entry.events);
  const { fresh, repeated, conflicting } = await insertEvents(session, auctionUid, events);
  await project(session, auctionUid, fresh);
  const letters = conflicting.map(({ event, body, outboxId }): DeadLetter => {
    const { lotId, epoch, seq } = event;
    const detail = `another event is archived as ${lotId} ${epoch}.${seq}`;
    return { reason: "conflict", lotId, outboxId, detail, body: Buffer.from(body) };
  });
  return { inserted: fresh.length, fresh, repeated, letters };
}

/** @throws the refusal itself when several were to be written and Postgres took none: that is no poison */
async function insertOneByOne(
  session: Session,
  auctionUid: string,
  entries: readonly Entry[],
): Promise<Recorded> {
  let [repeated, refused] = [0, 0];
  const fresh: ArchivedEvent[] = [];
  const letters: DeadLetter[] = [];
  for (const entry of entries) {
    await session.query("savepoint entry");
    try {
      const recorded = await insertTogether(session, auctionUid, [entry]);
      fresh.push(...recorded.fresh);
      repeated += recorded.repeated;
      letters.push(...recorded.letters);
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      refused++;
      if (entries.length > 1 && refused === entries.length) throw error;
      await session.query("rollback to savepoint entry");
      const { lotId, outboxId, bytes } = entry;
      const detail = `${error.code}: ${error.message}`;
      letters.push({ reason: "refused", lotId, outboxId, detail, body: bytes });
    }
    await session.query("release savepoint entry");
  }
  return { inserted: fresh.length, fresh, repeated, letters };
}

interface Inserted {
  readonly fresh: readonly ArchivedEvent[];
  readonly repeated: number;
  readonly conflicting: readonly ArchivedEvent[];
}

const keyOf = (lotId: string, epoch: number | string, seq: number | string) =>
  `${lotId} ${epoch}.${seq}`;

async function insertEvents(
  session: Session,
  auctionUid: string,
  events: readonly ArchivedEvent[],
): Promise<Inserted> {
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
  if (unique.length === 0) return { fresh: [], repeated, conflicting };

  const { rows } = await session.query<{ lot_id: string; epoch: string; seq: string }>({
    name: "insert-events",
    text: `
      insert into events (auction_uid, lot_id, epoch, seq, type, at, body, outbox_id)
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
  const known = unique.filter((archived) => !isFresh(archived));
  const different = await findDifferent(session, auctionUid, known);
  return {
    fresh: unique.filter(isFresh),
    repeated: repeated + known.length - different.length,
    conflicting: [...conflicting, ...different],
  };
}

/** Of events whose keys are taken: those that are not what is archived under the key. */
async function findDifferent(
  session: Session,
  auctionUid: string,
  events: readonly ArchivedEvent[],
): Promise<ArchivedEvent[]> {
  if (events.length === 0) return [];
  const { rows } = await session.query<{ at: string }>({
    name: "find-different",
    text: `
      select given.at
      from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[])
        with ordinality as given (lot_id, epoch, seq, body, at)
      join events using (lot_id, epoch, seq)
      where events.auction_uid = $1 and events.body <> given.body`,
    values: [
      auctionUid,
      events.map(({ event }) => event.lotId),
      events.map(({ event }) => event.epoch),
      events.map(({ event }) => event.seq),
      events.map(({ body }) => body),
    ],
  });
  return rows.map(({ at }) => events[Number(at) - 1]!);
}
