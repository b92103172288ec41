/**
 * One transaction of the archive: events, projections, dead letters and the new watermark, all or nothing.
 */
import { StoreRefused } from "../../store/unreachable.ts";
import type { ArchivedEvent, Batch, DeadLetter, Entry } from "./batch.ts";
import { type Archive, inTransaction, isRefusedData, type Session } from "./connection.ts";
import { insertDeadLetters } from "./dead-letters.ts";
import { insertEvents } from "./events.ts";
import { project } from "./projections.ts";
import { moveWatermark } from "./watermark.ts";

export interface Recorded {
  readonly inserted: number;
  /** The inserted events, in their order. */
  readonly insertedEvents: readonly ArchivedEvent[];
  /** How many were archived before, with the same text. */
  readonly repeated: number;
  /** Those that were not stored before. */
  readonly letters: readonly DeadLetter[];
}

/**
 * Writes a batch. Repeating it changes nothing. If Postgres refuses a value, the entries are written one by
 * one, and the refused ones become dead letters.
 * @throws WatermarkMoved when the watermark is not at `fromId`; any other error of Postgres: nothing was
 *   written, or the answer to COMMIT was lost
 */
export async function recordBatch(
  archive: Archive,
  auctionUid: string,
  batch: Batch,
): Promise<Recorded> {
  const write = (insert: typeof insertTogether) =>
    inTransaction(archive, async (session) => {
      await moveWatermark(session, auctionUid, batch.fromId, batch.toId);
      const { letters, ...recorded } = await insert(session, auctionUid, batch.entries);
      const allLetters = batch.letters.concat(letters);
      return {
        ...recorded,
        letters: await insertDeadLetters(session, auctionUid, allLetters),
      };
    });
  try {
    return await write(insertTogether);
  } catch (error) {
    if (!isRefusedData(error)) throw error;
    return write(insertOneByOne);
  }
}

/**
 * Inserts entries inside the caller's transaction.
 * @throws a refusal (isRefusedData), after which the transaction is aborted
 */
export async function insertTogether(
  session: Session,
  auctionUid: string,
  entries: readonly Entry[],
): Promise<Recorded> {
  const events = entries.flatMap((entry) => entry.events);
  const { insertedEvents, repeated, conflicting } = await insertEvents(session, auctionUid, events);
  await project(session, auctionUid, insertedEvents);
  const letters = conflicting.map(({ event, body, outboxId }): DeadLetter => {
    const { lotId, epoch, seq } = event;
    const detail = `another event is archived as ${lotId} ${epoch}.${seq}`;
    return { reason: "conflict", lotId, outboxId, detail, body: Buffer.from(body) };
  });
  return { inserted: insertedEvents.length, insertedEvents, repeated, letters };
}

/** @throws StoreRefused when Postgres refused each of several entries: then the data is not the cause */
async function insertOneByOne(
  session: Session,
  auctionUid: string,
  entries: readonly Entry[],
): Promise<Recorded> {
  let [repeated, refused] = [0, 0];
  const insertedEvents: ArchivedEvent[] = [];
  const letters: DeadLetter[] = [];
  for (const entry of entries) {
    await session.query("savepoint entry");
    try {
      const recorded = await insertTogether(session, auctionUid, [entry]);
      insertedEvents.push(...recorded.insertedEvents);
      repeated += recorded.repeated;
      letters.push(...recorded.letters);
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      refused++;
      if (entries.length > 1 && refused === entries.length) {
        throw new StoreRefused(`every entry: ${error.code}: ${error.message}`, { cause: error });
      }
      await session.query("rollback to savepoint entry");
      const { lotId, outboxId, bytes } = entry;
      const detail = `${error.code}: ${error.message}`;
      letters.push({ reason: "refused", lotId, outboxId, detail, body: bytes });
    }
    await session.query("release savepoint entry");
  }
  return { inserted: insertedEvents.length, insertedEvents, repeated, letters };
}
