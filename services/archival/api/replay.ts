import { type Archive, inTransaction, isRefusedData } from "../postgres/connection.ts";
import { lockDeadLetter, markReplayed } from "../postgres/dead-letters.ts";
import { insertTogether } from "../postgres/record-batch.ts";
import { readEntry } from "../pipeline/read-entry.ts";

type Replayed =
  | { readonly outcome: "archived"; readonly events: number }
  /** It stays a dead letter. */
  | { readonly outcome: "refused"; readonly detail: string }
  | { readonly outcome: "not_found" };

/** Archives a dead letter whose cause is gone. Once: a later call does not find it. */
export async function replayDeadLetter(
  archive: Archive,
  auctionUid: string,
  deadLetterId: number,
): Promise<Replayed> {
  try {
    return await inTransaction(archive, async (session): Promise<Replayed> => {
      const letter = await lockDeadLetter(session, auctionUid, deadLetterId);
      if (letter === null) return { outcome: "not_found" };
      if (letter.lotId === null || letter.outboxId === null) {
        return { outcome: "refused", detail: "it was never an entry of the outbox" };
      }
      const read = readEntry(letter.lotId, letter.outboxId, letter.body);
      if (!read.readable) return { outcome: "refused", detail: read.why };
      await session.query("savepoint replay");
      const { inserted, letters } = await insertTogether(session, auctionUid, [read.entry]);
      if (letters.length > 0) {
        await session.query("rollback to savepoint replay"); // A refused replay leaves nothing behind.
        return { outcome: "refused", detail: letters[0]!.detail };
      }
      await markReplayed(session, deadLetterId);
      return { outcome: "archived", events: inserted };
    });
  } catch (error) {
    if (isRefusedData(error)) return { outcome: "refused", detail: error.message };
    throw error;
  }
}
