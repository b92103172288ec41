/** The dead_letters table. */
import type { DeadLetterReason } from "../reasons.ts";
import type { DeadLetter } from "./batch.ts";
import type { Archive, Session } from "./connection.ts";
import { PARTITION } from "./partition.ts";
import { epochMs } from "./time.ts";

/** @returns those that were not there yet */
export async function insertDeadLetters(
  session: Session,
  auctionUid: string,
  letters: readonly DeadLetter[],
): Promise<DeadLetter[]> {
  const inserted: DeadLetter[] = [];
  for (const letter of letters) {
    const { reason, detail, lotId, outboxId, streamId = null, body } = letter;
    const { rowCount } = await session.query(
      `insert into public.dead_letters
         (auction_uid, partition, lot_id, reason, detail, outbox_id, stream_id, body)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (auction_uid, stream_id) do nothing`,
      [
        auctionUid,
        PARTITION,
        withoutNul(lotId),
        reason,
        withoutNul(detail),
        outboxId,
        streamId,
        body,
      ],
    );
    if (rowCount === 1) inserted.push(letter);
  }
  return inserted;
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

/** A dead letter as archival answers it. */
export interface ListedDeadLetter {
  readonly deadLetterId: number;
  readonly reason: DeadLetterReason;
  readonly detail: string;
  readonly lotId: string | null;
  /** Null for a foreign message. */
  readonly outboxId: string | null;
  /** As text; a byte that is not UTF-8 shows as U+FFFD. */
  readonly body: string;
  readonly foundAtMs: number;
  readonly replayedAtMs: number | null;
  /** Who discarded it, when and why; null if nobody did. */
  readonly discarded: { readonly atMs: number; readonly by: string; readonly why: string } | null;
}

interface DeadLetterRow {
  id: number;
  reason: DeadLetterReason;
  detail: string;
  lot_id: string | null;
  outbox_id: string | null;
  body: Buffer;
  found_ms: number;
  replayed_ms: number | null;
  discarded_ms: number | null;
  discarded_by: string;
  discard_reason: string;
}

const COLUMNS = `dead_letter_id as id, reason, detail, lot_id, outbox_id, body,
  ${epochMs("found_at")} as found_ms, ${epochMs("replayed_at")} as replayed_ms,
  ${epochMs("discarded_at")} as discarded_ms, discarded_by, discard_reason`;

/** SQL for a dead letter that was neither replayed nor discarded. */
export const WAITING = "replayed_at is null and discarded_at is null";

/** The dead letters after `afterId`, oldest first. @param waiting only those neither replayed nor discarded */
export async function listDeadLetters(
  archive: Archive,
  auctionUid: string,
  { afterId, limit, waiting }: { afterId: number; limit: number; waiting: boolean },
): Promise<{ deadLetters: ListedDeadLetter[]; nextCursor: string | null }> {
  const { rows } = await archive.query<DeadLetterRow>(
    `select ${COLUMNS} from public.dead_letters
     where auction_uid = $1 and dead_letter_id > $2 and (not $4 or (${WAITING}))
     order by dead_letter_id limit $3`,
    [auctionUid, afterId, limit + 1, waiting],
  );
  const deadLetters = rows.slice(0, limit).map(listed);
  const last = deadLetters.at(-1);
  return {
    deadLetters,
    nextCursor: rows.length > limit && last ? String(last.deadLetterId) : null,
  };
}

function listed(row: DeadLetterRow): ListedDeadLetter {
  const { discarded_ms: atMs, discarded_by: by, discard_reason: why } = row;
  return {
    deadLetterId: row.id,
    reason: row.reason,
    detail: row.detail,
    lotId: row.lot_id,
    outboxId: row.outbox_id,
    body: row.body.toString("utf8"),
    foundAtMs: row.found_ms,
    replayedAtMs: row.replayed_ms,
    discarded: atMs === null ? null : { atMs, by, why },
  };
}

/** Null if there is no such dead letter. */
export async function readDeadLetter(
  archive: Archive,
  auctionUid: string,
  deadLetterId: number,
): Promise<ListedDeadLetter | null> {
  const { rows } = await archive.query<DeadLetterRow>(
    `select ${COLUMNS} from public.dead_letters where auction_uid = $1 and dead_letter_id = $2`,
    [auctionUid, deadLetterId],
  );
  return rows[0] ? listed(rows[0]) : null;
}

/** Locks a dead letter that waits, until the transaction ends. Null if there is none. */
export async function lockDeadLetter(
  session: Session,
  auctionUid: string,
  deadLetterId: number,
): Promise<Pick<DeadLetter, "lotId" | "outboxId" | "body"> | null> {
  const { rows } = await session.query<DeadLetterRow>(
    `select ${COLUMNS} from public.dead_letters
     where auction_uid = $1 and dead_letter_id = $2 and ${WAITING} for update`,
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

/**
 * Marks a dead letter as discarded; the record keeps it, with who discarded it and why.
 * @returns false when none with this id waits
 */
export async function discardDeadLetter(
  archive: Archive,
  auctionUid: string,
  deadLetterId: number,
  { by, why }: { by: string; why: string },
): Promise<boolean> {
  const { rowCount } = await archive.query(
    `update public.dead_letters set discarded_at = now(), discarded_by = $3, discard_reason = $4
     where auction_uid = $1 and dead_letter_id = $2 and ${WAITING}`,
    [auctionUid, deadLetterId, by, why],
  );
  return rowCount === 1;
}
