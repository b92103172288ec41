/** Archives what JetStream has after the watermark, when the outbox that it came from is lost. */
import type { Bus } from "../../bus/connect.ts";
import { type Delivery, isRelayed } from "../../bus/entry.ts";
import { readStream } from "../../bus/read-stream.ts";
import type { Logger } from "../../runtime/log.ts";
import { compareIds } from "../../store/outbox.ts";
import { buildBatch } from "../pipeline/build-batch.ts";
import { failing } from "../pipeline/pipeline-failure.ts";
import { type Archive, inTransaction } from "../postgres/connection.ts";
import { insertLoss } from "../postgres/dead-letters.ts";
import { readTails } from "../postgres/lot-tails.ts";
import { recordBatch } from "../postgres/record-batch.ts";
import { moveWatermark, readOrCreateWatermark } from "../postgres/watermark.ts";

/**
 * @returns how many events Postgres did not have, and the new watermark
 * @throws when Postgres or NATS does not answer; what was written before stays
 */
export async function archiveStream(
  bus: Bus,
  archive: Archive,
  auctionUid: string,
  log: Logger,
): Promise<{ inserted: number; watermark: string }> {
  let watermark = await readOrCreateWatermark(archive, auctionUid);
  let tails = await readTails(archive, auctionUid);
  let inserted = 0;
  for await (const deliveries of failingReads(readStream(bus, auctionUid))) {
    // Only messages of the relay: others are not events of the auction.
    const fresh = deliveries.filter(isRelayed).filter(isAfter(watermark));
    if (fresh.length === 0) continue;
    const firstAfterId = fresh[0]!.afterId;
    if (compareIds(firstAfterId, watermark) > 0) {
      log.error({ watermark, firstAfterId }, "entries lost between watermark and stream");
      await recordLoss(archive, auctionUid, watermark, firstAfterId);
      watermark = firstAfterId;
      tails = await readTails(archive, auctionUid);
    }
    const { batch, newTails } = buildBatch(fresh, watermark, tails);
    const recorded = await recordBatch(archive, auctionUid, batch);
    inserted += recorded.inserted;
    watermark = batch.toId;
    for (const [lotId, tail] of newTails) tails.lots.set(lotId, tail);
  }
  return { inserted, watermark };
}

/** Distinguishes a stream that cannot be read from an archive that does not answer. */
async function* failingReads(reads: AsyncGenerator<Delivery[]>): AsyncGenerator<Delivery[]> {
  try {
    yield* reads;
  } catch (error) {
    await failing("bus", Promise.reject(error as Error));
  }
}

function isAfter(watermark: string): (delivery: { readonly outboxId: string }) => boolean {
  return ({ outboxId }) => compareIds(outboxId, watermark) > 0;
}

/** Moves the watermark over the lost entries, so that the archive goes on after them. */
async function recordLoss(
  archive: Archive,
  auctionUid: string,
  watermark: string,
  upToId: string,
): Promise<void> {
  await inTransaction(archive, async (session) => {
    await moveWatermark(session, auctionUid, watermark, upToId);
    await insertLoss(session, auctionUid, watermark, upToId);
  });
}
