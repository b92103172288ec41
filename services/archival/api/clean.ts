/** Removes an auction from Redis and JetStream, once the archive has all of it. The archive stays. */
import type { Bus } from "../../bus/connect.ts";
import { deleteStream } from "../../bus/stream.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { removeAuction } from "../../store/remove.ts";
import { readAuction } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { readDefinition } from "../postgres/archived-lots.ts";
import { markCleaned, markCleaning, readMarks } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import { readWatermark } from "../pipeline/watermark.ts";

export interface CleanOf {
  readonly of: Partition;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Null before NATS was first reached. */
  readonly bus: () => Bus | null;
  /** Ends relay, archive and checks of this process, for good. */
  readonly endWork: () => Promise<void>;
}

export type Cleaned =
  | { readonly outcome: "cleaned" }
  /** Nothing was removed. */
  | { readonly outcome: "refused"; readonly why: string };

/**
 * Each step may be repeated, and what a call that failed has not done the next one does. The mark in the
 * archive comes first: from then on no process puts anything back. Redis before JetStream, since a relay of
 * another process would make the stream again as long as it finds an outbox.
 * @param force without the proof that the archive has everything
 * @throws when a store does not answer
 */
export async function clean(parts: CleanOf, force: boolean): Promise<Cleaned> {
  const { of, store, keys, archive, bus, endWork } = parts;
  const { auctionUid } = of;
  const why = force ? null : await reasonAgainst(parts);
  if (why !== null) return { outcome: "refused", why };
  await markCleaning(archive, auctionUid);
  await endWork();
  const auction = await readAuction(store, keys);
  const registered = await readDefinition(archive, auctionUid);
  const lotIds = new Set([
    ...(auction?.lotIds ?? []),
    ...(registered?.lots.map(({ lotId }) => lotId) ?? []),
  ]);
  await removeAuction(store, keys, [...lotIds]);
  const connected = bus();
  if (connected === null) throw new StoreUnavailable("NATS was not reached yet");
  await deleteStream(connected, auctionUid);
  await markCleaned(archive, auctionUid);
  return { outcome: "cleaned" };
}

/** Null where the archive is proved to have everything. */
async function reasonAgainst({ of, store, keys, archive }: CleanOf): Promise<string | null> {
  const marks = await readMarks(archive, of.auctionUid);
  if (marks.cleaning) return null;
  const auction = await readAuction(store, keys);
  const fencedId = auction?.fencedId ?? null;
  if (fencedId === null) return "The auction is not fenced.";
  if (compareIds(await readWatermark(archive, of), fencedId) < 0) {
    return "The archive has not come up to the fence yet.";
  }
  if (marks.verified === null) return "The archive was not verified.";
  if (!marks.verified.ok) return "The archive differs from what was decided.";
  return null;
}
