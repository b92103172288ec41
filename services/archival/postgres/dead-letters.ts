/** The dead_letters table. */
import type { DeadLetterReason } from "../reasons.ts";
import type { DeadLetter } from "./batch.ts";
import type { Archive, Session } from "./connection.ts";
import { PARTITION } from "./partition.ts";
import { epochMs } from "./time.ts";

export async function insertDeadLetters(
  session: Session,
  auctionUid: string,
  letters: readonly DeadLetter[],
): Promise<void> {
  for (const { reason, detail, lotId, outboxId, body } of letters) {
    await session.query(
      `insert into public.dead_letters (auction_uid, partition, lot_id, reason, detail, outbox_id, body)
       values ($1, $2, $3, $4, $5, $6, $7)`,
      [auctionUid, PARTITION, withoutNul(lotId), reason, withoutNul(detail), outboxId, body],
    );
  }
}

/** Text in Postgres cannot hold NUL. */
function withoutNul(text: string | null): string | null {
  return text?.replaceAll("\0", "\\0") ?? null;
}

/** Records that the outbox dropped entries before they were archived. Once for the same loss. */
export async function insertLoss(
  session: Pick<Session, "query">,
  auctionUid: string,
  afterId: string,
  upToId: string,
): Promise<void> {
  await session.query(
    `insert into public.dead_letters (auction_uid, partition, reason, detail, outbox_id, after_id, body)
     select $1, $2, 'lost', $5, $4, $3, ''
     where not exists (select from public.dead_letters where auction_uid = $1 and partition = $2
       and reason = 'lost' and after_id = $3 and outbox_id = $4)`,
    [
      auctionUid,
      PARTITION,
      afterId,
      upToId,
      `the outbox begins at ${upToId}; the archive ends at ${afterId}`,
    ],
  );
}

interface ListedDeadLetter {
  readonly deadLetterId: number;
  readonly reason: DeadLetterReason;
  readonly detail: string;
  readonly lotId: string | null;
  readonly outboxId: string | null;
  /** As text; a byte that is not UTF-8 shows as U+FFFD. */
  readonly body: string;
  readonly foundAtMs: number;
  readonly replayedAtMs: number | null;
}

interface DeadLetterRow {
  dead_letter_id: number;
  reason: DeadLetterReason;
  detail: string;
  lot_id: string | null;
  outbox_id: string | null;
  body: Buffer;
  found_ms: number;
  replayed_ms: number | null;
}

/** The dead letters after `afterId`, oldest first. */
export async function listDeadLetters(
  archive: Archive,
  auctionUid: string,
  afterId: number,
  limit: number,
): Promise<{ deadLetters: ListedDeadLetter[]; nextCursor: string | null }> {
  const { rows } = await archive.query<DeadLetterRow>(
    `select dead_letter_id, reason, detail, lot_id, outbox_id, body, ${epochMs("found_at")} as found_ms,
       ${epochMs("replayed_at")} as replayed_ms
     from public.dead_letters where auction_uid = $1 and dead_letter_id > $2
     order by dead_letter_id limit $3`,
    [auctionUid, afterId, limit + 1],
  );
  const deadLetters = rows.slice(0, limit).map((row) => ({
    deadLetterId: row.dead_letter_id,
    reason: row.reason,
    detail: row.detail,
    lotId: row.lot_id,
    outboxId: row.outbox_id,
    body: row.body.toString("utf8"),
    foundAtMs: row.found_ms,
    replayedAtMs: row.replayed_ms,
  }));
  const last = deadLetters.at(-1);
  return {
    deadLetters,
    nextCursor: rows.length > limit && last ? String(last.deadLetterId) : null,
  };
}

/** Locks a dead letter that was not replayed yet, until the transaction ends. Null: there is none. */
export async function lockDeadLetter(
  session: Session,
  auctionUid: string,
  deadLetterId: number,
): Promise<Pick<DeadLetter, "lotId" | "outboxId" | "body"> | null> {
  const { rows } = await session.query<DeadLetterRow>(
    `select lot_id, outbox_id, body from public.dead_letters
     where auction_uid = $1 and dead_letter_id = $2 and replayed_at is null for update`,
    [auctionUid, deadLetterId],
  );
  const row = rows[0];
  return row ? { lotId: row.lot_id, outboxId: row.outbox_id, body: row.body } : null;
}

export async function markReplayed(session: Session, deadLetterId: number): Promise<void> {
  await session.query(
    "update public.dead_letters set replayed_at = now() where dead_letter_id = $1",
    [deadLetterId],
  );
}
