/** What JetStream has beyond Postgres's watermark goes to Postgres, when the outbox that it came from is lost. */
import type { Bus } from "../../bus/connect.ts";
import { readStream } from "../../bus/read-stream.ts";
import type { Delivery } from "../../bus/entry.ts";
import type { Logger } from "../../runtime/log.ts";
import { compareIds } from "../../store/outbox.ts";
import { sort } from "../pipeline/archive.ts";
import { insertLoss } from "../postgres/dead-letters.ts";
import type { Archive } from "../postgres/connection.ts";
import { inTransaction } from "../postgres/connection.ts";
import { type Partition, record } from "../pipeline/record.ts";
import { moveWatermark, readTails, readWatermark } from "../pipeline/watermark.ts";

/**
 * @returns how many events Postgres had not, and the watermark now
 * @throws when Postgres or NATS does not answer; what was written by then stays
 */
export async function archiveStream(
  bus: Bus,
  archive: Archive,
  of: Partition,
  log: Logger,
): Promise<{ inserted: number; watermark: string }> {
  let watermark = await readWatermark(archive, of);
  let tails = await readTails(archive, of);
  let inserted = 0;
  for await (const deliveries of readStream(bus, of.auctionUid, of.partition)) {
    const fresh = deliveries.filter(isBeyond(watermark));
    if (fresh.length === 0) continue;
    const first = fresh[0]!;
    if (compareIds(first.afterId!, watermark) > 0) {
      // The stream begins later than Postgres ends: between them something is gone for good.
      log.error(
        { watermark, streamAfterId: first.afterId },
        "the stream lacks what Postgres lacks",
      );
      await bridge(archive, of, watermark, first.afterId!);
      watermark = first.afterId!;
      tails = await readTails(archive, of);
    }
    const { batch, moved } = sort(fresh, watermark, tails);
    const recorded = await record(archive, of, batch);
    inserted += recorded.inserted;
    watermark = batch.toId;
    for (const [lotId, tail] of moved) tails.lots.set(lotId, tail);
  }
  return { inserted, watermark };
}

/** Only what the relay wrote counts here: the rest is no event of the auction's. */
function isBeyond(watermark: string): (delivery: Delivery) => boolean {
  return ({ outboxId, afterId }) =>
    outboxId !== null && afterId !== null && compareIds(outboxId, watermark) > 0;
}

async function bridge(
  archive: Archive,
  of: Partition,
  watermark: string,
  beginsAfterId: string,
): Promise<void> {
  await inTransaction(archive, async (session) => {
    await moveWatermark(session, of, watermark, beginsAfterId);
    await insertLoss(session, of, watermark, beginsAfterId);
  });
}
