/** The watermark: how far the outbox is archived. Redis and JetStream follow the value in Postgres. */
import { StoreUnavailable } from "../../store/unreachable.ts";
import type { Archive, Session } from "./connection.ts";
import { PARTITION } from "./partition.ts";

/** The watermark is not where the writer left it. */
export class WatermarkMoved extends StoreUnavailable {
  override readonly name = "WatermarkMoved";
}

/** The highest outbox id up to which everything is committed. "0-0" for a new auction. */
export async function readOrCreateWatermark(archive: Archive, auctionUid: string): Promise<string> {
  const { rows } = await archive.query<{ outbox_id: string }>(
    `insert into public.watermarks (auction_uid, partition, outbox_id) values ($1, $2, '0-0')
     on conflict (auction_uid, partition) do update set partition = excluded.partition
     returning outbox_id`,
    [auctionUid, PARTITION],
  );
  return rows[0]!.outbox_id;
}

/**
 * Moves the watermark in the transaction that writes the rows below it. It locks the row first: of two
 * archives one waits, and then gets WatermarkMoved.
 * @throws WatermarkMoved when the watermark is not at `fromId`: another archive moved it, or Postgres was
 *   restored from a backup
 */
export async function moveWatermark(
  session: Session,
  auctionUid: string,
  fromId: string,
  toId: string,
): Promise<void> {
  const { rowCount } = await session.query({
    text: `
      update public.watermarks set outbox_id = $4, updated_at = now()
      where auction_uid = $1 and partition = $2 and outbox_id = $3`,
    values: [auctionUid, PARTITION, fromId, toId],
  });
  if (rowCount !== 1) throw new WatermarkMoved(`the watermark is not at ${fromId}`);
}
