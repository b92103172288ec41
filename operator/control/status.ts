/** Computes an Auction's status from its facts. Pure. */
import { isDeepStrictEqual } from "node:util";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import type { AuctionStatus } from "../api/auction-status.ts";
import { conditionsOf, withTransitionTimes } from "./conditions.ts";
import { type Component, type StoreName, STORES, TIERS } from "../api/components.ts";
import { durationMs } from "../api/duration.ts";
import { phaseOf } from "./phase.ts";
import { recentState, type StatusFacts } from "./status-facts.ts";

/** RFC 3339 without fractions, as Kubernetes writes it. */
function instant(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

export function statusOf(facts: StatusFacts): AuctionStatus {
  const { auction, previous, nowMs, operatorVersion, rulesHash, endpoints } = facts;
  const state = recentState(facts);
  const deleting = auction.metadata.deletionTimestamp !== undefined;
  const phase = phaseOf(previous.phase, state, deleting);
  const generation = auction.metadata.generation;
  const conditions = conditionsOf(facts, phase);
  return defined({
    observedGeneration: generation,
    phase,
    phaseSince: phase === previous.phase ? previous.phaseSince : instant(nowMs),
    operatorVersion,
    conditions: withTransitionTimes(conditions, previous.conditions ?? [], generation, nowMs),
    schedule: scheduleOf(state, previous),
    endpoints,
    rules: defined({
      desiredHash: rulesHash ?? undefined,
      publishedHash: state?.rulesHash ?? previous.rules?.publishedHash,
    }),
    tiers: Object.fromEntries(TIERS.map((tier) => [tier, tierOf(facts, tier)])),
    backing: Object.fromEntries(STORES.map((store) => [store, storeOf(facts, store, state)])),
    lots: lotsOf(state) ?? previous.lots,
    activity: activityOf(state, nowMs) ?? previous.activity,
    archive: archiveOf(state, previous),
    drain: drainOf(facts),
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** A copy without undefined fields, as the API server returns it. */
function defined<T extends object>(value: T): Defined<T> {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries) as Defined<T>;
}

function scheduleOf(
  state: ArchivalState | null,
  { schedule }: AuctionStatus,
): AuctionStatus["schedule"] {
  if (state === null || state.rulesHash === null) return schedule;
  const { opensAtMs, closesAtMs, extensions } = state;
  return defined({
    opensAt: opensAtMs === null ? undefined : instant(opensAtMs),
    effectiveClosesAt: closesAtMs === null ? undefined : instant(closesAtMs),
    extensions: extensions ?? 0,
  });
}

function tierOf({ workloads, held }: StatusFacts, tier: Component) {
  const workload = workloads[tier];
  if (workload === undefined) return { desired: 0, ready: 0, updated: 0 };
  const { desired, ready, updated, image, revision } = workload;
  return defined({ desired, ready, updated, image, revision, pendingRevision: held[tier] });
}

function storeOf(facts: StatusFacts, store: StoreName, state: ArchivalState | null) {
  const { mode } = facts.auction.spec.backing[store];
  return defined({ mode, reachable: state?.[store], secretHash: facts.secretHashes[store] });
}

function lotsOf(state: ArchivalState | null): AuctionStatus["lots"] | null {
  if (state === null || state.lots === null) return null;
  const { total, open, sold, unsold, withdrawn } = state.lots;
  return { summary: `${sold}/${total}`, total, open, sold, unsold, withdrawn };
}

function activityOf(state: ArchivalState | null, nowMs: number): AuctionStatus["activity"] | null {
  if (state === null || state.bidsAccepted === null) return null;
  return { bidsAccepted: state.bidsAccepted, observedAt: instant(nowMs) };
}

function archiveOf(
  state: ArchivalState | null,
  { archive }: AuctionStatus,
): AuctionStatus["archive"] {
  if (state === null) return archive;
  const { fencedId, relayedId, archivedId, verified, archiveLagMs } = state;
  return defined({
    fencedId: fencedId ?? archive?.fencedId,
    relayedId: relayedId ?? archive?.relayedId,
    archivedId: archivedId ?? archive?.archivedId,
    verifiedAt: verified?.ok ? instant(verified.atMs) : archive?.verifiedAt,
    lagMs: archiveLagMs ?? undefined,
  });
}

function drainOf({ drain, auction }: StatusFacts): AuctionStatus["drain"] {
  if (drain?.step === undefined) return undefined;
  const { step, startedAtMs, message } = drain;
  const deadline = startedAtMs + durationMs(auction.spec.deletion.drainTimeout);
  return { step, startedAt: instant(startedAtMs), deadline: instant(deadline), message };
}

/** Changes of counters alone are written at most this often. Everything else is written at once. */
export const COUNTERS_MS = 15_000;

/** The status without what every bid changes. */
function withoutCounters(status: AuctionStatus): AuctionStatus {
  const { activity: _activity, archive, schedule, ...rest } = status;
  const { fencedId, verifiedAt } = archive ?? {};
  const opening = defined({ opensAt: schedule?.opensAt });
  return { ...rest, archive: defined({ fencedId, verifiedAt }), schedule: opening };
}

/** @param writtenAtMs when the status of this Auction was last written */
export function shouldWrite(
  previous: AuctionStatus,
  next: AuctionStatus,
  writtenAtMs: number,
  nowMs: number,
): boolean {
  if (isDeepStrictEqual(previous, next)) return false;
  if (!isDeepStrictEqual(withoutCounters(previous), withoutCounters(next))) return true;
  const { observedAt: _before, ...before } = previous.activity ?? {};
  const { observedAt: _after, ...after } = next.activity ?? {};
  const isQuiet =
    isDeepStrictEqual(before, after) &&
    isDeepStrictEqual({ ...previous.archive, lagMs: 0 }, { ...next.archive, lagMs: 0 }) &&
    isDeepStrictEqual(previous.schedule, next.schedule);
  return !isQuiet && nowMs - writtenAtMs >= COUNTERS_MS;
}
