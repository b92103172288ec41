/** Dead letters, seen and tried again by whoever looks after an auction. */
import { type DeadLetter, readEntry } from "../postgres/dead-letters.ts";
import { type Archive, inTransaction, isRefusedData } from "../postgres/connection.ts";
import { insertTogether, type Partition } from "../pipeline/record.ts";

export interface ListedLetter {
  readonly deadLetterId: number;
  readonly reason: DeadLetter["reason"];
  readonly detail: string;
  readonly lotId: string | null;
  readonly outboxId: string | null;
  /** As text; bytes that are none show as U+FFFD. */
  readonly body: string;
  readonly foundAtMs: number;
  readonly replayedAtMs: number | null;
}

interface LetterRow {
  dead_letter_id: string;
  reason: DeadLetter["reason"];
  detail: string;
  lot_id: string | null;
  outbox_id: string | null;
  body: Buffer;
  found_at: Date;
  replayed_at: Date | null;
}

/** Those after `afterId`, oldest first. */
export async function listDeadLetters(
  archive: Archive,
  { auctionUid }: Partition,
  afterId: number,
  limit: number,
): Promise<{ deadLetters: ListedLetter[]; nextCursor: string | null }> {
  const { rows } = await archive.query<LetterRow>(
    `select dead_letter_id, reason, detail, lot_id, outbox_id, body, found_at, replayed_at
     from dead_letters where auction_uid = $1 and dead_letter_id > $2
     order by dead_letter_id limit $3`,
    [auctionUid, afterId, limit + 1],
  );
  const deadLetters = rows.slice(0, limit).map((row) => ({
    deadLetterId: Number(row.dead_letter_id),
    reason: row.reason,
    detail: row.detail,
    lotId: row.lot_id,
    outboxId: row.outbox_id,
    body: row.body.toString("utf8"),
    foundAtMs: row.found_at.getTime(),
    replayedAtMs: row.replayed_at?.getTime() ?? null,
  }));
  const last = deadLetters.at(-1);
  return {
    deadLetters,
    nextCursor: rows.length > limit && last ? String(last.deadLetterId) : null,
  };
}

export type Replayed =
  | { readonly outcome: "archived"; readonly events: number }
  /** It stays a dead letter. */
  | { readonly outcome: "refused"; readonly detail: string }
  | { readonly outcome: "not_found" };

/** Archives a dead letter after all, when what stood in its way is gone. Once; later calls find none. */
export async function replayDeadLetter(
  archive: Archive,
  { auctionUid }: Partition,
  deadLetterId: number,
): Promise<Replayed> {
  try {
    return await inTransaction(archive, async (session): Promise<Replayed> => {
      const { rows } = await session.query<LetterRow>(
        `select lot_id, outbox_id, body from dead_letters
         where auction_uid = $1 and dead_letter_id = $2 and replayed_at is null for update`,
        [auctionUid, deadLetterId],
      );
      const letter = rows[0];
      if (letter === undefined) return { outcome: "not_found" };
      if (letter.lot_id === null || letter.outbox_id === null) {
        return { outcome: "refused", detail: "it was never an entry of the outbox" };
      }
      const read = readEntry(letter.lot_id, letter.outbox_id, letter.body);
      if (!read.readable) return { outcome: "refused", detail: read.why };
      const { inserted, letters } = await insertTogether(session, auctionUid, [read.entry]);
      if (letters.length > 0) return { outcome: "refused", detail: letters[0]!.detail };
      await session.query("update dead_letters set replayed_at = now() where dead_letter_id = $1", [
        deadLetterId,
      ]);
      return { outcome: "archived", events: inserted };
    });
  } catch (error) {
    if (isRefusedData(error)) return { outcome: "refused", detail: error.message };
    throw error;
  }
}
