/** The completeness proof: every event that Redis decided is in the archive, recomputed from its rows. */
import { type Store, storeClockMs } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readDigests, type StoredAuction } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { countBidRows, readArchivedDigest, readOtherLotIds } from "../postgres/archived-digest.ts";
import {
  type AuctionMarks,
  type CompletenessProof,
  saveProof,
  readAuctionMarks,
} from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import { readOrCreateWatermark } from "../postgres/watermark.ts";

/** Differences listed in a proof; the rest is counted. */
const DIFFERENCES_MAX = 20;

interface ProofDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
}

/**
 * Compares the digests that Redis keeps of each lot's events with the archive's rows, and saves the result in
 * the archive. It also requires a fence, a watermark at the fence, and that no dead letter of the outbox waits.
 * Null if the store has no auction.
 * @throws when a store does not answer
 */
export async function proveCompleteness(
  dependencies: ProofDependencies,
): Promise<CompletenessProof | null> {
  const { auctionUid, store, keys, archive } = dependencies;
  const auction = await readAuction(store, keys);
  if (auction === null) return null;
  const atMs = await storeClockMs(store);
  const marks = await readAuctionMarks(archive, auctionUid);
  const differences = await findBlockers(dependencies, auction, marks);
  const { lotIds } = auction;
  const digests = await readDigests(store, keys, lotIds);
  const bidRows = await countBidRows(archive, auctionUid);
  let events = 0;
  for (const [index, lotId] of lotIds.entries()) {
    const archived = await readArchivedDigest(archive, auctionUid, lotId);
    events += archived.events;
    const decided = digests[index];
    if (!decided) {
      differences.push(`lot ${lotId} is not in the store`);
      continue;
    }
    const compare = (what: string, inArchive: unknown, inStore: unknown) => {
      if (inArchive === inStore) return;
      differences.push(`lot ${lotId}: ${what}: archived ${inArchive}, decided ${inStore}`);
    };
    compare("bids", archived.bidCount, decided.bidCount);
    compare("sum of bids (mod 10^15)", archived.sumMinor, decided.sumMinor);
    compare("chain of events", archived.chain, decided.chain);
    compare("rows of bids", bidRows.get(lotId) ?? 0, decided.bidCount);
  }
  for (const lotId of await readOtherLotIds(archive, auctionUid, lotIds)) {
    differences.push(`lot ${lotId} is archived, and not in the store`);
  }
  const proof: CompletenessProof = {
    atMs,
    ok: differences.length === 0,
    lots: lotIds.length,
    events,
    differences: shorten(differences),
  };
  await saveProof(archive, auctionUid, proof, marks.verified);
  return proof;
}

/** What rules out a complete archive before any lot is compared. */
async function findBlockers(
  { auctionUid, archive }: ProofDependencies,
  { fencedId }: StoredAuction,
  { deadEntries }: AuctionMarks,
): Promise<string[]> {
  const blockers: string[] = [];
  const archivedId = await readOrCreateWatermark(archive, auctionUid);
  if (fencedId === null) blockers.push("the auction is not fenced");
  else if (compareIds(archivedId, fencedId) < 0) {
    blockers.push(`archived up to ${archivedId}, fenced at ${fencedId}`);
  }
  if (deadEntries > 0) {
    blockers.push(`${deadEntries} dead letters wait: replay or discard them`);
  }
  return blockers;
}

function shorten(differences: readonly string[]): string[] {
  const rest = differences.length - DIFFERENCES_MAX;
  const listed = differences.slice(0, DIFFERENCES_MAX);
  return rest > 0 ? listed.concat(`and ${rest} more`) : listed;
}
