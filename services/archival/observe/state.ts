/** Where the tier and its stores stand: for `make status`, operators, and the gauges. */
import { answers as busAnswers, type Bus } from "../../bus/connect.ts";
import { result } from "../../lot/lifecycle.ts";
import type { Lot } from "../../lot/lot.ts";
import { type Store, storeClockMs } from "../../store/connect.ts";
import { readDurability, type StoreDurability } from "../../store/durability.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readLots, type StoredAuction } from "../../store/lots.ts";
import { lastOutboxId } from "../../store/outbox.ts";
import { readMarks, type Verified } from "../postgres/auction-marks.ts";
import type { Reading } from "../metrics.ts";
import { type Archive, answers as archiveAnswers } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import type { Phase, Standing } from "../serve.ts";

const ANSWER_MS = 1_000;

export interface StateOf {
  readonly of: Partition;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Null before NATS was first reached. */
  readonly bus: () => Bus | null;
  readonly standing: Standing;
  readonly rules: { readonly refused: string | null };
}

/** Lots by what becomes of bids on them, at Redis's clock; for a suspended auction it stands still. */
export interface LotCounts {
  readonly total: number;
  /** They have not opened. */
  readonly scheduled: number;
  /** They take bids, unless the auction is suspended. */
  readonly open: number;
  /** They take none any more: over by the clock, or fenced. Those with a result, too. */
  readonly closed: number;
  readonly sold: number;
  readonly unsold: number;
  readonly withdrawn: number;
}

export interface State {
  readonly phase: Phase;
  readonly redis: boolean;
  readonly nats: boolean;
  readonly postgres: boolean;
  /** Whether this process relays and archives at present. */
  readonly active: boolean;
  /** From the store; null where it has no auction, or does not answer. */
  readonly rulesHash: string | null;
  readonly opensAtMs: number | null;
  readonly pendingBytes: number | null;
  readonly maxPendingBytes: number | null;
  /** Null where another process relays. */
  readonly relayedId: string | null;
  readonly archivedId: string | null;
  /** Age of the oldest event that is not archived. */
  readonly archiveLagMs: number | null;
  /** Not replayed yet; null where Postgres does not answer. */
  readonly deadLetters: number | null;
  /** Redis's clock. */
  readonly nowMs: number | null;
  readonly lots: LotCounts | null;
  /** The latest close of any lot that was not withdrawn; null until it is fixed. */
  readonly closesAtMs: number | null;
  /** Of all lots together. */
  readonly extensions: number | null;
  readonly bidsAccepted: number | null;
  readonly suspended: boolean;
  /** The last outbox id of all, once all intake has ended. */
  readonly fencedId: string | null;
  readonly lastId: string | null;
  /** The last comparison of the archive with the store. */
  readonly verified: Verified | null;
  readonly durability: StoreDurability;
  /** It is gone from Redis and JetStream; the archive has it. */
  readonly cleaned: boolean;
  /** Why the last rules were not taken. */
  readonly refusedRules: string | null;
}

const UNKNOWN: StoreDurability = { keeps: "unknown", settings: [] };

export async function readState(of: StateOf): Promise<State> {
  const { store, keys, archive, standing } = of;
  const bus = of.bus();
  const [auction, nowMs, lastId, durability, lag, marks, nats, postgres] = await Promise.all([
    readAuction(store, keys).catch(() => undefined),
    storeClockMs(store).catch(() => null),
    lastOutboxId(store, keys).catch(() => null),
    readDurability(store).catch(() => UNKNOWN),
    readOutboxAge(of, null).catch(() => null),
    readMarks(archive, of.of.auctionUid).catch(() => null),
    bus !== null && busAnswers(bus, ANSWER_MS),
    archiveAnswers(archive, ANSWER_MS),
  ]);
  const lots = auction ? await lotsOf(of, auction).catch(() => null) : null;
  const sum = (count: (lot: Lot) => number) =>
    lots && lots.reduce((all, lot) => all + count(lot), 0);
  return {
    phase: standing.phase,
    redis: auction !== undefined,
    nats,
    postgres,
    active: standing.progress !== null,
    rulesHash: auction?.rulesHash ?? null,
    opensAtMs: auction?.opensAtMs ?? null,
    pendingBytes: auction?.pendingBytes ?? null,
    maxPendingBytes: auction?.maxPendingBytes ?? null,
    relayedId: standing.progress?.relayedId ?? null,
    archivedId: standing.progress?.archivedId ?? auction?.archivedId ?? null,
    archiveLagMs: lag,
    deadLetters: marks?.deadLetters ?? null,
    nowMs,
    lots: auction && lots && nowMs !== null ? countLots(auction, lots, nowMs) : null,
    closesAtMs: lots && latestClose(lots),
    extensions: sum(({ extensions }) => extensions),
    bidsAccepted: sum(({ bidCount }) => bidCount),
    suspended: auction?.suspendedAtMs != null,
    fencedId: auction?.fencedId ?? marks?.fence?.fencedId ?? null,
    lastId,
    verified: marks?.verified ?? null,
    durability,
    cleaned: marks?.cleaned ?? false,
    refusedRules: of.rules.refused,
  };
}

/** Age of the oldest outbox entry after an id (null: after what is archived); 0 where there is none. */
export async function readOutboxAge(
  { store, keys, standing }: Pick<StateOf, "store" | "keys" | "standing">,
  afterId: string | null,
): Promise<number> {
  const archivedId = async () => (await store.hget(keys.auction, "archivedId")) ?? "0-0";
  const after = afterId ?? standing.progress?.archivedId ?? (await archivedId());
  const [[oldest], nowMs] = await Promise.all([
    store.xrange(keys.outbox, `(${after}`, "+", "COUNT", 1),
    storeClockMs(store),
  ]);
  return oldest === undefined ? 0 : Math.max(0, nowMs - Number(oldest[0].split("-", 1)[0]));
}

async function lotsOf({ store, keys }: StateOf, auction: StoredAuction): Promise<Lot[]> {
  const lots = await readLots(store, keys, auction, auction.lotIds);
  return lots.filter((lot) => lot !== null);
}

function countLots(auction: StoredAuction, lots: readonly Lot[], nowMs: number): LotCounts {
  const passedMs = Math.min(nowMs, auction.suspendedAtMs ?? Infinity);
  const stageOf = ({ status, opensAtMs, closesAtMs }: Lot) => {
    if (status === "withdrawn") return "withdrawn";
    const isOver = closesAtMs !== null && opensAtMs !== null && passedMs >= closesAtMs;
    if (status === "closed" || isOver || auction.fencedId !== null) return "closed";
    return opensAtMs === null || passedMs < opensAtMs ? "scheduled" : "open";
  };
  const stages = lots.map(stageOf);
  const count = (stage: string) => stages.filter((other) => other === stage).length;
  const ended = lots.filter(({ status }) => status === "closed");
  const sold = ended.filter((lot) => result(lot).outcome === "sold").length;
  return {
    total: lots.length,
    scheduled: count("scheduled"),
    open: count("open"),
    closed: count("closed"),
    sold,
    unsold: ended.length - sold,
    withdrawn: count("withdrawn"),
  };
}

function latestClose(lots: readonly Lot[]): number | null {
  const closes = lots.flatMap(({ status, closesAtMs }) =>
    status === "withdrawn" || closesAtMs === null ? [] : [closesAtMs],
  );
  return closes.length === 0 ? null : Math.max(...closes);
}

/** Entries looked at to say what is not relayed. */
const UNRELAYED_MAX = 1_000;

/**
 * What would be lost with Redis's volume. Where this process does not relay, what is not archived is taken
 * for it: that is never too little.
 */
async function readUnrelayed({ store, keys, standing }: StateOf) {
  const archivedId = async () => (await store.hget(keys.auction, "archivedId")) ?? "0-0";
  const after = standing.progress?.relayedId ?? (await archivedId());
  const entries = await store.xrange(keys.outbox, `(${after}`, "+", "COUNT", UNRELAYED_MAX);
  return entries.map(([id, fields]) => ({ id, events: fields[3]!.split("\n").length }));
}

function msOf(id: string): number {
  return Number(id.split("-", 1)[0]);
}

/** What the gauges show. Asks Redis only, and not for long. @throws when Redis does not answer */
export async function readGauges(of: StateOf): Promise<Reading> {
  const { store, keys, standing } = of;
  const { progress } = standing;
  const fields = ["pendingBytes", "maxPendingBytes", "suspended", "fencedId"];
  const [auction, outboxEntries, unarchivedMs, unrelayed, [, dueMs], nowMs] = await Promise.all([
    store.hmget(keys.auction, ...fields),
    store.xlen(keys.outbox),
    readOutboxAge(of, null),
    readUnrelayed(of),
    store.zrange(keys.due, "0", "0", "WITHSCORES"),
    storeClockMs(store),
  ]);
  const [pendingBytes, maxPendingBytes, suspended, fencedId] = auction;
  const watermark = progress === null ? "0-0" : progress.archivedId;
  // A suspended auction's lots wait, and a fenced one's are closed by the fence.
  const isDue = dueMs !== undefined && suspended !== "1" && !fencedId;
  return {
    nowMs,
    pendingBytes: Number(pendingBytes ?? 0),
    maxPendingBytes: Number(maxPendingBytes ?? 0),
    outboxEntries,
    unarchivedMs,
    unrelayedMs: unrelayed[0] === undefined ? 0 : Math.max(0, nowMs - msOf(unrelayed[0].id)),
    unrelayedEvents: unrelayed.reduce((sum, { events }) => sum + events, 0),
    betweenEntries: progress?.betweenEntries ?? 0,
    watermarkAgeMs: watermark === "0-0" ? null : nowMs - Number(watermark.split("-", 1)[0]),
    overdueMs: isDue ? Math.max(0, nowMs - Number(dueMs)) : 0,
  };
}
