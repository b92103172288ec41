/** What could not be archived. It stops nothing, is not lost, and can be tried again. */
import { decodeEvents } from "../../lot/events.ts";
import type { ArchivedEvent, Entry, Partition } from "../pipeline/record.ts";
import type { Session } from "./connection.ts";

export const DEAD_LETTER_REASONS = ["undecodable", "refused", "conflict", "lost"] as const;

export interface DeadLetter {
  readonly reason: (typeof DEAD_LETTER_REASONS)[number];
  readonly detail: string;
  readonly lotId: string | null;
  /** Null for a message that was never in the outbox. */
  readonly outboxId: string | null;
  readonly body: Uint8Array;
}

/** The text of an outbox entry, as read; or what is wrong with it. */
export type ReadEntry =
  | { readonly readable: true; readonly entry: Entry }
  | { readonly readable: false; readonly why: string };

export function readEntry(lotId: string, outboxId: string, bytes: Uint8Array): ReadEntry {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const bodies = text.split("\n");
    const events = decodeEvents(text).map((event, at): ArchivedEvent => {
      return { event, body: bodies[at]!, outboxId };
    });
    const stranger = events.find(({ event }) => event.lotId !== lotId);
    if (stranger) {
      return {
        readable: false,
        why: `an event of ${stranger.event.lotId} among those of ${lotId}`,
      };
    }
    return { readable: true, entry: { outboxId, lotId, events, bytes } };
  } catch (error) {
    return { readable: false, why: (error as Error).message };
  }
}

export async function insertDeadLetters(
  session: Session,
  { auctionUid, partition }: Partition,
  letters: readonly DeadLetter[],
): Promise<void> {
  for (const { reason, detail, lotId, outboxId, body } of letters) {
    await session.query(
      `insert into dead_letters (auction_uid, partition, lot_id, reason, detail, outbox_id, body)
       values ($1, $2, $3, $4, $5, $6, $7)`,
      [auctionUid, partition, textOf(lotId), reason, textOf(detail), outboxId, body],
    );
  }
}

/** Postgres's text has no NUL, and what we quote here may have anything. */
function textOf(text: string | null): string | null {
  return text?.replaceAll("\0", "\\0") ?? null;
}

/** Records that the outbox has dropped what the archive still lacked. Once for the same loss. */
export async function insertLoss(
  session: Pick<Session, "query">,
  { auctionUid, partition }: Partition,
  afterId: string,
  upToId: string,
): Promise<void> {
  await session.query(
    `insert into dead_letters (auction_uid, partition, reason, detail, outbox_id, after_id, body)
     select $1, $2, 'lost', $5, $4, $3, ''
     where not exists (select from dead_letters where auction_uid = $1 and partition = $2
       and reason = 'lost' and after_id = $3 and outbox_id = $4)`,
    [
      auctionUid,
      partition,
      afterId,
      upToId,
      `the outbox begins at ${upToId}; the archive ends at ${afterId}`,
    ],
  );
}
