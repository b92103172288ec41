/**
 * Leaves in Redis, every few seconds, how the archive stands: for whoever asks any tier whether the auction
 * is well. It also puts a fence back that a Redis has lost.
 */
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import { type Store, storeClockMs } from "../../store/connect.ts";
import { type Summary, writeSummary } from "../../store/invariants.ts";
import type { Keys } from "../../store/keys.ts";
import { fenceAuction } from "../../store/lifecycle.ts";
import { readAuction, readLots } from "../../store/lots.ts";
import { readKnownLots } from "../postgres/archived-lots.ts";
import { type Marks, markFenced, readMarks } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import type { Standing } from "../serve.ts";
import { readOutboxAge } from "./state.ts";

const EVERY_MS = 2_000;

export interface SummaryOf {
  readonly of: Partition;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  readonly log: Logger;
}

/** Writes until the signal aborts. What cannot be asked is asked again; the summary grows old meanwhile. */
export async function keepSummary(
  parts: SummaryOf,
  standing: Standing,
  signal: AbortSignal,
): Promise<void> {
  let known: Known = { marks: null, missing: [] };
  while (!signal.aborted) {
    try {
      // What Postgres said last stands while it is away: an archive that is behind is told by its lag.
      known = await askArchive(parts).catch(() => known);
      if (known.marks?.fence) await keepFence(parts);
      await writeSummary(parts.store, parts.keys, await summaryOf(parts, standing, known));
    } catch (error) {
      parts.log.debug({ err: error }, "no summary was written");
    }
    await pause(EVERY_MS, signal);
  }
}

interface Known {
  readonly marks: Marks | null;
  /** Lots of which the archive has other bids than the store. */
  readonly missing: readonly string[];
}

async function summaryOf(
  { store, keys }: SummaryOf,
  standing: Standing,
  { marks, missing }: Known,
): Promise<Summary> {
  const lagMs = await readOutboxAge({ store, keys, standing }, null);
  const violations: Summary["violations"] = [];
  if (standing.failed === "gap") violations.push("sequence");
  if (missing.length > 0 || (marks?.deadLetters ?? 0) > 0) violations.push("missing");
  const archivedId = standing.progress?.archivedId ?? "0-0";
  return { atMs: await storeClockMs(store), archivedId, lagMs, violations };
}

async function askArchive(parts: SummaryOf): Promise<Known> {
  const { archive, of } = parts;
  const marks = await readMarks(archive, of.auctionUid);
  return { marks, missing: await lotsLacking(parts) };
}

/** Of lots that stand at the same event here and there: those with another number of bids. */
async function lotsLacking({ of, store, keys, archive }: SummaryOf): Promise<string[]> {
  const known = await readKnownLots(archive, of.auctionUid);
  const auction = await readAuction(store, keys);
  if (auction === null) return [];
  const lots = await readLots(store, keys, auction, auction.lotIds);
  return lots.flatMap((lot) => {
    const archived = lot === null ? undefined : known.get(lot.lotId);
    if (!lot || !archived || archived.epoch !== lot.epoch || archived.seq !== lot.seq) return [];
    return archived.bidCount === lot.bidCount ? [] : [lot.lotId];
  });
}

/** A Redis that came back without its last second may have lost the fence, and nothing else. */
async function keepFence({ of, store, keys, archive, log }: SummaryOf): Promise<void> {
  const auction = await readAuction(store, keys);
  if (auction === null || auction.fencedId !== null) return;
  const fence = await fenceAuction(store, keys, auction.lotIds);
  if (fence === null) return;
  log.error(fence, "the store had lost the fence; it has it again");
  await markFenced(archive, of.auctionUid, fence);
}
