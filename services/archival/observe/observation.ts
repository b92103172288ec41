/** One reading of the stores: the auction and its lots as Redis, Postgres and JetStream have them. */
import { ifUnavailable } from "../../access/error-class.ts";
import type { Bus } from "../../bus/connect.ts";
import type { StreamState } from "../../bus/stream.ts";
import type { Lot } from "../../lot/lot.ts";
import { type Store, storeClockMs } from "../../store/connect.ts";
import { memoryShortage } from "../../store/memory-budget.ts";
import { readDurability, type StoreDurability } from "../../store/store-settings.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readLots, type StoredAuction } from "../../store/lots.ts";
import { lastOutboxId } from "../../store/outbox.ts";
import { readRedisHealth, type RedisHealth } from "../../store/redis-health.ts";
import type { ProcessState } from "../pipeline/process-state.ts";
import { type ArchivedLot, readArchivedLots } from "../postgres/archived-lots.ts";
import { type AuctionMarks, readAuctionMarks } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";

export interface ObserverDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Null before the first connection to NATS. */
  readonly currentBus: () => Bus | null;
  readonly state: ProcessState;
}

export interface Observation {
  /** Null if Redis did not answer. */
  readonly store: StoreObservation | null;
  /** The latest that Postgres answered; null before its first answer. */
  readonly archive: ArchiveObservation | null;
  /** The latest that JetStream answered: null for no stream, undefined before its first answer. */
  readonly stream: StreamState | null | undefined;
}

export interface StoreObservation {
  /** Redis's clock. */
  readonly nowMs: number;
  /** Null if the store has no auction. */
  readonly auction: StoredAuction | null;
  readonly lots: readonly Lot[];
  /** The newest id of the outbox. */
  readonly lastId: string | null;
  readonly outboxEntries: number;
  /** Age of the oldest event that is not archived; 0 if all are. */
  readonly unarchivedMs: number;
  /** Age of the oldest event that is not relayed; 0 if all are. */
  readonly unrelayedMs: number;
  /** Events that are not relayed, counted up to UNRELAYED_MAX entries. */
  readonly unrelayedEvents: number;
  /** How long the next lot to be opened or closed has been due; 0 if none is. */
  readonly overdueMs: number;
  readonly durability: StoreDurability;
  /** Why Redis's maxmemory is below the memory budget; null if it is enough or unknown, or Redis has no auction. */
  readonly memoryShortage: string | null;
  /** Null if Redis refuses INFO. */
  readonly health: RedisHealth | null;
}

export interface ArchiveObservation {
  readonly marks: AuctionMarks;
  readonly lots: ReadonlyMap<string, ArchivedLot>;
}

export const UNKNOWN_DURABILITY: StoreDurability = { keeps: "unknown", settings: [] };

/** Entries read to find what is not relayed. */
const UNRELAYED_MAX = 1_000;

/** @throws when Redis does not answer */
export async function observeStore({
  store,
  keys,
  state,
}: ObserverDependencies): Promise<StoreObservation> {
  const [auction, nowMs, durability, health] = await Promise.all([
    readAuction(store, keys),
    storeClockMs(store),
    readDurability(store).catch(ifUnavailable(UNKNOWN_DURABILITY)),
    readRedisHealth(store),
  ]);
  const storedId = auction?.archivedId ?? "0-0";
  const archivedId = state.progress?.archivedId ?? storedId;
  // A process that does not relay takes what is not archived for it: that is never too little.
  const relayedId = state.progress?.relayedId ?? storedId;
  const [lots, lastId, outboxEntries, [unarchived], unrelayed, [, dueMs]] = await Promise.all([
    auction === null ? [] : presentLots(store, keys, auction),
    lastOutboxId(store, keys),
    store.xlen(keys.outbox),
    store.xrange(keys.outbox, `(${archivedId}`, "+", "COUNT", 1),
    store.xrange(keys.outbox, `(${relayedId}`, "+", "COUNT", UNRELAYED_MAX),
    store.zrange(keys.due, "0", "0", "WITHSCORES"),
  ]);
  const ageMs = (entry: readonly [string, unknown] | undefined) =>
    entry === undefined ? 0 : Math.max(0, nowMs - msOf(entry[0]));
  // The lots of a suspended auction wait, and the fence closes those of a fenced one.
  const isTicking = auction !== null && auction.suspendedAtMs === null && auction.fencedId === null;
  return {
    nowMs,
    auction,
    lots,
    lastId,
    outboxEntries,
    unarchivedMs: ageMs(unarchived),
    unrelayedMs: ageMs(unrelayed[0]),
    unrelayedEvents: unrelayed.reduce((sum, [, fields]) => sum + fields[3]!.split("\n").length, 0),
    overdueMs: isTicking && dueMs !== undefined ? Math.max(0, nowMs - Number(dueMs)) : 0,
    durability,
    memoryShortage: shortageOf(auction, health),
    health,
  };
}

function shortageOf(auction: StoredAuction | null, health: RedisHealth | null): string | null {
  if (auction === null || health === null || !Number.isFinite(auction.maxKeysBytes)) return null;
  const { lotIds, maxPendingBytes, maxKeysBytes } = auction;
  return memoryShortage({ lots: lotIds.length, maxPendingBytes, maxKeysBytes }, health.maxBytes);
}

async function presentLots(store: Store, keys: Keys, auction: StoredAuction): Promise<Lot[]> {
  const lots = await readLots(store, keys, auction, auction.lotIds);
  return lots.filter((lot) => lot !== null);
}

/** @throws when Postgres does not answer */
export async function observeArchive({
  auctionUid,
  archive,
}: ObserverDependencies): Promise<ArchiveObservation> {
  const [marks, lots] = await Promise.all([
    readAuctionMarks(archive, auctionUid),
    readArchivedLots(archive, auctionUid),
  ]);
  return { marks, lots };
}

/** The time in an outbox id, by Redis's clock. */
export function msOf(outboxId: string): number {
  return Number(outboxId.split("-", 1)[0]);
}
