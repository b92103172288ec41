/** Where the tier and its stores stand: for `make status`, operators, and the gauges. */
import { answers as busAnswers, type Bus } from "../bus/connect.ts";
import { type Store, storeClockMs } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction } from "../store/lots.ts";
import type { Reading } from "./metrics.ts";
import { type Archive, answers as archiveAnswers } from "./postgres.ts";
import type { Partition } from "./record.ts";
import type { Phase, Standing } from "./serve.ts";

const ANSWER_MS = 1_000;

export interface StateOf {
  readonly of: Partition;
  readonly store: Store;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Null before NATS was first reached. */
  readonly bus: () => Bus | null;
  readonly standing: Standing;
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
}

export async function readState(of: StateOf): Promise<State> {
  const { store, keys, archive, standing } = of;
  const bus = of.bus();
  const [auction, lag, deadLetters, nats, postgres] = await Promise.all([
    readAuction(store, keys).catch(() => undefined),
    readOutboxAge(of, null).catch(() => null),
    countDeadLetters(of).catch(() => null),
    bus !== null && busAnswers(bus, ANSWER_MS),
    archiveAnswers(archive, ANSWER_MS),
  ]);
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
    deadLetters,
  };
}

/** Age of the oldest outbox entry after an id (null: after what is archived); 0 where there is none. */
async function readOutboxAge(
  { store, keys, standing }: StateOf,
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

async function countDeadLetters({ archive, of }: StateOf): Promise<number> {
  const { rows } = await archive.query<{ count: string }>(
    "select count(*) from dead_letters where auction_uid = $1 and replayed_at is null",
    [of.auctionUid],
  );
  return Number(rows[0]!.count);
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
  const [pendingBytes, outboxEntries, unarchivedMs, unrelayed, nowMs] = await Promise.all([
    store.hget(keys.auction, "pendingBytes"),
    store.xlen(keys.outbox),
    readOutboxAge(of, null),
    readUnrelayed(of),
    storeClockMs(store),
  ]);
  const watermark = progress === null ? "0-0" : progress.archivedId;
  return {
    pendingBytes: Number(pendingBytes ?? 0),
    outboxEntries,
    unarchivedMs,
    unrelayedMs: unrelayed[0] === undefined ? 0 : Math.max(0, nowMs - msOf(unrelayed[0].id)),
    unrelayedEvents: unrelayed.reduce((sum, { events }) => sum + events, 0),
    betweenEntries: progress?.betweenEntries ?? 0,
    watermarkAgeMs: watermark === "0-0" ? null : nowMs - Number(watermark.split("-", 1)[0]),
  };
}
