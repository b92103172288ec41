/**
 * Checks a Redis that was started, replaced or emptied, before it decides anything: does it have everything
 * that was relayed and archived? If so it is confirmed; if not, it is restored under a higher epoch.
 */
import type { Bus } from "../../bus/connect.ts";
import { streamState } from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { StoreLimits } from "../../store/define-lots.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readLots, type StoredAuction } from "../../store/lots.ts";
import { isBehind, type Position } from "../../lot/position.ts";
import { forgetAhead, isBeingRestored, RESTORE_REQUESTED } from "../../store/restore.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { confirmServer, readRunId, wasPromoted } from "../../store/server-identity.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import { failing } from "../pipeline/pipeline-failure.ts";
import type { RelayedPositions } from "../pipeline/relayed-positions.ts";
import { readArchivedLots } from "../postgres/archived-lots.ts";
import { readAuctionMarks } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import { hasEvents } from "../postgres/events.ts";
import { archiveStream } from "./archive-stream.ts";
import { restore } from "./restore.ts";

/**
 * How long to wait for claims after the store lost something: a running process reconnects to the store within
 * a second, and claims at once what it showed.
 */
const CLAIM_MS = 1_200;

export interface CheckDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Waits for NATS. @throws when the process stops meanwhile */
  readonly waitForBus: () => Promise<Bus>;
  readonly limits: StoreLimits;
  readonly metrics: ArchivalMetrics;
  readonly log: Logger;
  /** Is called before a restore. */
  readonly onLost: () => void;
}

type Checked =
  /** The store may decide. */
  | "confirmed"
  /** The store may decide, under a higher epoch. */
  | "restored"
  /** The store has no auction, and nothing of it was ever archived or relayed. */
  | "new"
  /** The auction was removed for good: nothing is restored. */
  | "removed";

/** A position of a lot that the store does not have. */
interface Lacking {
  readonly lotId: string;
  readonly inStore: Position | null;
  readonly known: Position;
}

type Positions = ReadonlyMap<string, Position>;

/**
 * @param relayedPositions what this process relayed, if it holds the lease; null: Postgres and NATS tell it
 * @throws when a store does not answer: Redis decides nothing until the check is repeated
 */
export async function checkStore(
  dependencies: CheckDependencies,
  relayedPositions: RelayedPositions | null,
): Promise<Checked> {
  const { auctionUid, store, keys, archive, log } = dependencies;
  const auction = await readAuction(store, keys);
  if (auction === null) {
    if ((await readAuctionMarks(archive, auctionUid)).cleaning) return "removed";
    if (!(await wasRecorded(dependencies))) return "new";
    await pause(CLAIM_MS);
    return restoreStore(dependencies, null);
  }

  const server = await readRunId(store);
  const positions = await readPositions(dependencies, auction);
  let ahead = lackingOf(positions, auction.ahead);
  if (auction.confirmedServer === server && ahead.length === 0) {
    // Nothing that was relayed can be after what a confirmed store has.
    if (relayedPositions?.positions === null) relayedPositions.begin(positions);
    await forgetAhead(store, keys, [...auction.ahead.keys()]);
    return "confirmed";
  }
  if (auction.confirmedServer !== server && (await wasPromoted(store))) {
    // A promoted replica may lack events that were shown but not relayed: the processes claim them.
    await pause(CLAIM_MS);
    const claimed = (await readAuction(store, keys))?.ahead ?? new Map<string, Position>();
    ahead = lackingOf(positions, claimed);
  }
  const known = relayedPositions?.positions ?? (await readKnownPositions(dependencies));
  const lacking = lackingOf(positions, known).concat(ahead);
  const isRestoreRequested =
    auction.confirmedServer === RESTORE_REQUESTED || (await isBeingRestored(store, keys));
  if (lacking.length > 0 || isRestoreRequested) return restoreStore(dependencies, lacking);
  if (!(await confirmServer(store, keys, server))) {
    throw new StoreUnavailable("Redis changed during the check");
  }
  log.info({ server, lots: positions.size }, "store confirmed: it has everything that was relayed");
  relayedPositions?.begin(positions);
  return "confirmed";
}

/** Whether anything of the auction was archived or relayed. */
async function wasRecorded({
  auctionUid,
  archive,
  waitForBus,
}: CheckDependencies): Promise<boolean> {
  if (await hasEvents(archive, auctionUid)) return true;
  const stream = await failing("bus", streamState(await waitForBus(), auctionUid));
  return stream !== null && stream.lastSeq > 0;
}

async function readPositions(
  { store, keys }: CheckDependencies,
  auction: StoredAuction,
): Promise<Positions> {
  const lots = await readLots(store, keys, auction, auction.lotIds);
  const present = lots.filter((lot) => lot !== null);
  return new Map(present.map(({ lotId, epoch, seq }) => [lotId, { epoch, seq }]));
}

/** The known positions that the store does not have. */
function lackingOf(positions: Positions, known: Positions): Lacking[] {
  return [...known].flatMap(([lotId, position]) => {
    const inStore = positions.get(lotId) ?? null;
    if (inStore !== null && !isBehind(inStore, position)) return [];
    return { lotId, inStore, known: position };
  });
}

async function readKnownPositions({
  auctionUid,
  archive,
  waitForBus,
  log,
}: CheckDependencies): Promise<Positions> {
  await archiveStream(await waitForBus(), archive, auctionUid, log);
  return readArchivedLots(archive, auctionUid);
}

/** @param lacking what the store lacks of its auction; null if it has no auction */
async function restoreStore(
  dependencies: CheckDependencies,
  lacking: readonly Lacking[] | null,
): Promise<"restored"> {
  const { metrics, log, onLost } = dependencies;
  onLost();
  if (lacking === null) log.error("store has no auction: restoring it");
  else if (lacking.length === 0) log.warn("restore requested or interrupted: restoring");
  else log.error({ lacking }, "store lacks acknowledged events: restoring them");
  const restored = await restore({ ...dependencies, bus: await dependencies.waitForBus() });
  metrics.restores.inc();
  if (lacking !== null && lacking.length > 0) metrics.regressions.inc();
  log.error(restored, "auction restored under a higher epoch");
  return "restored";
}
