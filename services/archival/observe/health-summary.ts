/**
 * The health summary: what archival leaves in Redis, so that any tier can tell whether the auction is healthy.
 * The process that runs the pipeline writes it.
 */
import { isUnavailable } from "../../access/error-class.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Store } from "../../store/connect.ts";
import { type Summary, writeSummary } from "../../store/health-summary.ts";
import type { Keys } from "../../store/keys.ts";
import { fenceAuction } from "../../store/lot-changes.ts";
import type { StoredAuction } from "../../store/lots.ts";
import type { ProcessState } from "../pipeline/process-state.ts";
import { markFenced } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import type { ArchiveObservation, Observation, StoreObservation } from "./observation.ts";

interface SummaryDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  readonly state: ProcessState;
  readonly log: Logger;
}

export class HealthSummary {
  #writing: Promise<void> = Promise.resolve();
  readonly #dependencies: SummaryDependencies;

  constructor(dependencies: SummaryDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves when no write is under way. */
  get written(): Promise<void> {
    return this.#writing;
  }

  /** Writes the summary if this process runs the pipeline. A write that fails is skipped: the summary grows old. */
  write(observation: Observation): Promise<void> {
    if (!this.#dependencies.state.writesSummary) return Promise.resolve();
    this.#writing = this.#write(observation).catch((error: unknown) => {
      if (!isUnavailable(error)) throw error;
      this.#dependencies.log.debug({ err: error }, "health summary not written");
    });
    return this.#writing;
  }

  async #write({ store: inStore, archive: inArchive }: Observation): Promise<void> {
    if (inStore === null || inStore.auction === null) return;
    const { store, keys, state } = this.#dependencies;
    const { auction } = inStore;
    const isFenceLost = inArchive !== null && inArchive.marks.fence && auction.fencedId === null;
    if (isFenceLost) await restoreFence(this.#dependencies, auction);
    await writeSummary(store, keys, summaryOf(state, auction, inStore, inArchive));
  }
}

function summaryOf(
  state: ProcessState,
  { archivedId }: StoredAuction,
  inStore: StoreObservation,
  inArchive: ArchiveObservation | null,
): Summary {
  const violations: Summary["violations"] = [];
  if (state.lastFailure === "gap") violations.push("sequence");
  if (inArchive !== null && isMissingEvents(inStore, inArchive)) violations.push("missing");
  return {
    atMs: inStore.nowMs,
    archivedId: state.progress?.archivedId ?? archivedId,
    lagMs: inStore.unarchivedMs,
    violations,
  };
}

/** Whether dead letters of the outbox wait, or a lot at the same position has another number of bids in the archive. */
function isMissingEvents(inStore: StoreObservation, { marks, lots }: ArchiveObservation): boolean {
  if (marks.deadEntries > 0) return true;
  return inStore.lots.some(({ lotId, epoch, seq, bidCount }) => {
    const archived = lots.get(lotId);
    if (archived?.epoch !== epoch || archived.seq !== seq) return false;
    return archived.bidCount !== bidCount;
  });
}

/** A Redis that lost its last second may have lost the fence and nothing else. */
async function restoreFence(
  { auctionUid, store, keys, archive, log }: SummaryDependencies,
  { lotIds }: StoredAuction,
): Promise<void> {
  const fence = await fenceAuction(store, keys, lotIds);
  if (fence === null) return;
  log.error(fence, "fence restored: the store had lost it");
  await markFenced(archive, auctionUid, fence);
}
