/** The answer of `GET /internal/v1/state`, for the operator and `make status`: read from the stores on request. */
import { ifUnavailable } from "../../access/error-class.ts";
import { answers as busAnswers } from "../../bus/connect.ts";
import { result } from "../../lot/lifecycle.ts";
import type { Lot } from "../../lot/lot.ts";
import type { StoreDurability } from "../../store/store-settings.ts";
import type { StoredAuction } from "../../store/lots.ts";
import type { Dependency } from "../metrics.ts";
import type { Phase } from "../pipeline/process-state.ts";
import { type CompletenessProof, readAuctionMarks } from "../postgres/auction-marks.ts";
import { answers as archiveAnswers } from "../postgres/connection.ts";
import { observeStore, type ObserverDependencies, UNKNOWN_DURABILITY } from "./observation.ts";

const ANSWER_MS = 1_000;

export interface StateDependencies extends ObserverDependencies {
  readonly rules: { readonly refused: string | null };
  readonly refusals: { readonly reasons: ArchivalState["refusals"] };
}

/** Lots by whether they take bids, at Redis's clock. While the auction is suspended, that time does not pass. */
interface LotCounts {
  readonly total: number;
  /** Not opened yet. */
  readonly scheduled: number;
  /** Taking bids, unless the auction is suspended. */
  readonly open: number;
  /** Taking no bids any more: over by the clock, or fenced. Includes those with a result. */
  readonly closed: number;
  readonly sold: number;
  readonly unsold: number;
  readonly withdrawn: number;
}

export interface ArchivalState {
  readonly phase: Phase;
  readonly redis: boolean;
  readonly nats: boolean;
  readonly postgres: boolean;
  /** Whether this process relays and archives at present. */
  readonly active: boolean;
  /** From the store; null if it has no auction, or does not answer. */
  readonly rulesHash: string | null;
  readonly opensAtMs: number | null;
  readonly pendingBytes: number | null;
  readonly maxPendingBytes: number | null;
  /** Bids are refused until the next window of idempotency keys. */
  readonly keysFull: boolean;
  /** Null if this process does not relay. */
  readonly relayedId: string | null;
  readonly archivedId: string | null;
  /** Age of the oldest event that is not archived. */
  readonly archiveLagMs: number | null;
  /** How many were neither replayed nor discarded; null if Postgres does not answer. */
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
  /** The last outbox id of all, once the auction is fenced. */
  readonly fencedId: string | null;
  readonly lastId: string | null;
  /** The latest completeness proof. */
  readonly verified: CompletenessProof | null;
  readonly durability: StoreDurability;
  /** Why Redis may run out of memory before bids are refused, and what to change; null if it will not. */
  readonly memoryShortage: string | null;
  /** The auction is removed from Redis and JetStream; the archive has it. */
  readonly cleaned: boolean;
  /** The stores that refuse, each with its reason: a person must change something. */
  readonly refusals: Readonly<Partial<Record<Dependency, string>>>;
  /** Why the latest rules were refused. */
  readonly refusedRules: string | null;
}

export async function readState(dependencies: StateDependencies): Promise<ArchivalState> {
  const { auctionUid, archive, currentBus, state, rules } = dependencies;
  const bus = currentBus();
  const [store, marks, nats, postgres] = await Promise.all([
    observeStore(dependencies).catch(ifUnavailable(null)),
    readAuctionMarks(archive, auctionUid).catch(ifUnavailable(null)),
    bus !== null && busAnswers(bus, ANSWER_MS),
    archiveAnswers(archive, ANSWER_MS),
  ]);
  const auction = store?.auction ?? null;
  const lots = store === null || auction === null ? null : store.lots;
  const sum = (figure: (lot: Lot) => number) =>
    lots && lots.reduce((total, lot) => total + figure(lot), 0);
  return {
    phase: state.phase,
    redis: store !== null,
    nats,
    postgres,
    active: state.progress !== null,
    rulesHash: auction?.rulesHash ?? null,
    opensAtMs: auction?.opensAtMs ?? null,
    pendingBytes: auction?.pendingBytes ?? null,
    maxPendingBytes: auction?.maxPendingBytes ?? null,
    keysFull: auction !== null && auction.keysBytes >= auction.maxKeysBytes,
    relayedId: state.progress?.relayedId ?? null,
    archivedId: state.progress?.archivedId ?? auction?.archivedId ?? null,
    archiveLagMs: store?.unarchivedMs ?? null,
    deadLetters: marks?.deadLetters ?? null,
    nowMs: store?.nowMs ?? null,
    lots: store && auction && countLots(auction, store.lots, store.nowMs),
    closesAtMs: lots && latestClose(lots),
    extensions: sum(({ extensions }) => extensions),
    bidsAccepted: sum(({ bidCount }) => bidCount),
    suspended: auction !== null && auction.suspendedAtMs !== null,
    fencedId: auction?.fencedId ?? marks?.fence?.fencedId ?? null,
    lastId: store?.lastId ?? null,
    verified: marks?.verified ?? null,
    durability: store?.durability ?? UNKNOWN_DURABILITY,
    memoryShortage: store?.memoryShortage ?? null,
    cleaned: marks?.cleaned ?? false,
    refusals: dependencies.refusals.reasons,
    refusedRules: rules.refused,
  };
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
