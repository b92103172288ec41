/** Removes an auction from Redis and JetStream, once the archive has all of it. The archive stays. */
import type { Bus } from "../../bus/connect.ts";
import { deleteStream } from "../../bus/stream.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { deleteAuction } from "../../store/delete-auction.ts";
import { readAuction } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { markCleaned, markCleaning, readAuctionMarks } from "../postgres/auction-marks.ts";
import { readSavedDefinition } from "../postgres/auctions.ts";
import type { Archive } from "../postgres/connection.ts";
import { readOrCreateWatermark } from "../postgres/watermark.ts";

export interface CleanDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Null before the first connection to NATS. */
  readonly currentBus: () => Bus | null;
  /** Ends the pipeline, checks and observations of this process, for good. */
  readonly endWork: () => Promise<void>;
}

type Cleaned =
  | { readonly outcome: "cleaned" }
  /** Nothing was removed. */
  | { readonly outcome: "refused"; readonly why: string };

/**
 * Removes the auction. A call that failed may be repeated: it goes on where the other one stopped. The mark in
 * the archive comes first, so that no process restores anything after it. Redis comes before JetStream,
 * because the relay of another process creates the stream again as long as there is an outbox.
 * @param force skips the completeness proof
 * @throws when a store does not answer
 */
export async function cleanAuction(
  dependencies: CleanDependencies,
  force: boolean,
): Promise<Cleaned> {
  const { auctionUid, store, keys, archive, currentBus, endWork } = dependencies;
  const why = force ? null : await findObstacle(dependencies);
  if (why !== null) return { outcome: "refused", why };
  await markCleaning(archive, auctionUid);
  await endWork();
  const auction = await readAuction(store, keys);
  const saved = await readSavedDefinition(archive, auctionUid);
  const lotIds = new Set(auction?.lotIds);
  for (const { lotId } of saved?.lots ?? []) lotIds.add(lotId);
  await deleteAuction(store, keys, [...lotIds]);
  const bus = currentBus();
  if (bus === null) throw new StoreUnavailable("NATS was not reached yet");
  await deleteStream(bus, auctionUid);
  await markCleaned(archive, auctionUid);
  return { outcome: "cleaned" };
}

/** Why the auction must stay. Null once the archive is proved complete. */
async function findObstacle({
  auctionUid,
  store,
  keys,
  archive,
}: CleanDependencies): Promise<string | null> {
  const marks = await readAuctionMarks(archive, auctionUid);
  if (marks.cleaning) return null;
  const auction = await readAuction(store, keys);
  const fencedId = auction?.fencedId ?? null;
  if (fencedId === null) return "The auction is not fenced.";
  if (compareIds(await readOrCreateWatermark(archive, auctionUid), fencedId) < 0) {
    return "The archive has not come up to the fence yet.";
  }
  if (marks.verified === null) return "The archive was not verified.";
  if (!marks.verified.ok) return "The archive differs from what was decided.";
  return null;
}
