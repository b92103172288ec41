/** An Auction's conditions: each computed from the facts alone, in words that kstatus understands. */
import type { Condition, Phase } from "../api/auction-status.ts";
import { type StoreName, STORES } from "../api/components.ts";
import { durationMs } from "../api/duration.ts";
import type { Scale } from "../desired/inputs.ts";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { recentState, type StatusFacts } from "./status-facts.ts";
import type { Workload } from "./workload.ts";

type Value = Pick<Condition, "status" | "reason" | "message">;

const yes = (reason: string, message: string): Value => ({ status: "True", reason, message });
const no = (reason: string, message: string): Value => ({ status: "False", reason, message });
const unknown = (message: string): Value => ({ status: "Unknown", reason: "Unknown", message });

/** Conditions that exist only while they are true. */
type Transient =
  "Reconciling" | "Stalled" | "UpdatePending" | "Paused" | "DryRun" | "Suspended" | "Draining";

/** All conditions. `withTransitionTimes` adds generation and transition time. */
export function conditionsOf(facts: StatusFacts, phase: Phase): Readonly<Record<string, Value>> {
  const permanent: Record<string, Value | null> = {
    BackingReady: backingReady(facts),
    RulesPublished: rulesPublished(facts),
    GatewayAvailable: tierAvailable(facts, "gateway"),
    BroadcastAvailable: tierAvailable(facts, "broadcast"),
    ArchivalAvailable: tierAvailable(facts, "archival"),
    AcceptingBids: acceptingBids(facts, phase),
    ArchiveCurrent: archiveCurrent(facts, phase),
    DurabilityWeak: durabilityWeak(facts),
    MemoryShort: memoryShort(facts),
  };
  const transient: Record<Transient, Value | null> = {
    Stalled: stalled(facts),
    Draining: draining(facts),
    Reconciling: reconciling(facts, phase),
    UpdatePending: updatePending(facts),
    Suspended: suspended(facts),
    Paused: facts.annotations.paused
      ? yes("AnnotationSet", "gavel.dev/reconcile=paused: nothing is changed until it is removed")
      : null,
    DryRun: facts.annotations.dryRun
      ? yes("AnnotationSet", "gavel.dev/dry-run=true: changes are sent as a server-side dry run")
      : null,
  };
  const all = { ...permanent, Degraded: degraded(facts, phase, permanent), ...transient };
  const ready = readyOf(facts, phase, all);
  return Object.fromEntries(
    Object.entries({ Ready: ready, ...all }).filter(
      (entry): entry is [string, Value] => entry[1] !== null,
    ),
  );
}

const unanswered = (facts: StatusFacts) => unknown(`archival does not answer: ${facts.probe.why}`);

function backingReady(facts: StatusFacts): Value {
  const state = recentState(facts);
  if (state === null) return unanswered(facts);
  const refusal = firstRefusal(facts, state);
  if (refusal !== null) return no(refusal.reason, refusal.message);
  const unreachable = STORES.filter((store) => !state[store]);
  if (unreachable.length === 0) return yes("AllReachable", "redis, nats and postgres answer");
  const [first] = unreachable;
  const reason = `${titleOf(first!)}Unreachable`;
  return no(
    reason,
    `archival cannot reach ${unreachable.join(", ")}: check ${sourceOf(facts, first!)}`,
  );
}

/** What a person must check if a store cannot be reached: the Secret of its URL, or its pod. */
function sourceOf({ auction }: StatusFacts, store: StoreName): string {
  const { mode, external } = auction.spec.backing[store];
  if (mode === "Managed" || external === undefined)
    return `pod ${auction.metadata.name}-${store}-0`;
  const { name, key } = external.secretRef;
  return `the URL in key ${key} of Secret ${name}`;
}

/** A store that refuses, with its reason. A person must change something. */
function firstRefusal(
  facts: StatusFacts,
  { refusals }: ArchivalState,
): Pick<Condition, "reason" | "message"> | null {
  const [store] = STORES.filter((each) => refusals[each]);
  if (store === undefined) return null;
  return {
    reason: `${titleOf(store)}Refuses`,
    message: `${store} refuses: ${refusals[store]}; check ${sourceOf(facts, store)}`,
  };
}

const titleOf = (store: string) => `${store[0]!.toUpperCase()}${store.slice(1)}`;

function rulesPublished(facts: StatusFacts): Value {
  const state = recentState(facts);
  const { rulesHash, rulesRefusalReason } = facts;
  if (rulesHash === null) return no("Pending", "the rules wait for a Secret that they name");
  if (state === null) return unanswered(facts);
  if (state.rulesHash === rulesHash) return yes("Acknowledged", "the store has these rules");
  const why = rulesRefusalReason ?? state.refusedRules;
  // The reason is part of the API and covers every refusal; the message names the cause.
  if (why !== null) return no("RejectedAuctionOpen", `the store keeps the rules it has: ${why}`);
  return no("Pending", "the store does not have these rules yet");
}

const WHY_SCALED_DOWN: Readonly<Record<Scale, string>> = {
  waiting: "the auction opens later",
  full: "its replicas are set to 0",
  over: "the auction is settled",
  "no-viewers": "the Auction is being deleted",
  "no-intake": "the Auction is being deleted",
};

function tierAvailable(facts: StatusFacts, tier: "gateway" | "broadcast" | "archival"): Value {
  const workload = facts.workloads[tier];
  if (workload === undefined) return no("Unavailable", "its Deployment does not exist");
  const { desired, ready } = workload;
  if (desired === 0)
    return yes("ScaledToZero", `no pod is needed: ${WHY_SCALED_DOWN[facts.scale]}`);
  const counts = `${ready} of ${desired} pods are ready`;
  return ready > 0 ? yes("MinimumReplicas", counts) : no("Unavailable", counts);
}

function acceptingBids(facts: StatusFacts, phase: Phase): Value {
  const state = recentState(facts);
  if (state?.fencedId) return no("Fenced", "intake is closed for good");
  if (phase === "Pending" || phase === "Scheduled") return no("NotYetOpen", "no lot is open yet");
  if (phase !== "Open") return no("Closed", "no lot is open any more");
  if (state === null) return unanswered(facts);
  if (state.suspended) return no("Suspended", "spec.suspended is true");
  if (!state.redis) return no("BackingUnreachable", "Redis does not answer");
  const full =
    state.pendingBytes !== null && state.pendingBytes >= (state.maxPendingBytes ?? Infinity);
  if (full) return no("OutboxFull", "events wait for NATS or Postgres, and their limit is reached");
  if (state.keysFull) {
    const message = "more bids were accepted in ten minutes than tiers.archival.acceptedPerSecond";
    return no("KeysFull", message);
  }
  if (facts.workloads.gateway?.ready === 0) return no("TierUnavailable", "no gateway is ready");
  return yes("DoorsOpen", `${state.lots?.open ?? 0} lots are open`);
}

function archiveCurrent(facts: StatusFacts, phase: Phase): Value {
  const state = recentState(facts);
  if (state === null) return unanswered(facts);
  if (state.cleaned || (state.verified?.ok && state.fencedId !== null)) {
    return yes("Verified", "the archive was compared with the store and is complete");
  }
  if (state.rulesHash === null) return unknown("there is nothing to archive yet");
  if (state.refusals.postgres) {
    return no("PostgresRefuses", `postgres refuses: ${state.refusals.postgres}`);
  }
  if (!state.postgres) return no("PostgresUnreachable", "Postgres does not answer");
  const { archiveLagMs } = state;
  if (archiveLagMs === null) return unknown("the lag is not known");
  const maxLag = facts.auction.spec.tiers.archival.maxLag;
  if (archiveLagMs <= durationMs(maxLag)) {
    return yes("CaughtUp", phase === "Pending" ? "nothing waits" : `at most ${maxLag} behind`);
  }
  return no("Lagging", `an event waits for longer than ${maxLag}`);
}

function durabilityWeak(facts: StatusFacts): Value | null {
  const { mode, durability } = facts.auction.spec.backing.redis;
  const state = recentState(facts);
  if (mode === "Managed") return null;
  if (state === null) return unanswered(facts);
  const { keeps, settings } = state.durability;
  if (keeps === "unknown") return unknown("Redis does not say its settings (CONFIG is refused)");
  // A second copy makes up for a disk that is written once a second, for nothing else.
  const weak = durability === "Replica" ? settings.filter((s) => !/^append/.test(s)) : settings;
  if (weak.length === 0) return no("Durable", "Redis keeps what it acknowledges");
  return yes("RedisSettings", `Redis may lose acknowledged bids; change: ${weak.join(", ")}`);
}

/** Like every condition of a fault, it exists only while it is true. */
function memoryShort(facts: StatusFacts): Value | null {
  const why = recentState(facts)?.memoryShortage ?? null;
  return why === null ? null : yes("MaxMemoryTooLow", why);
}

function degraded(
  facts: StatusFacts,
  phase: Phase,
  permanent: Record<string, Value | null>,
): Value {
  const state = recentState(facts);
  if (phase !== "Pending" && state !== null) {
    const refusal = firstRefusal(facts, state);
    if (refusal !== null) return yes(refusal.reason, refusal.message);
    if (!state.postgres)
      return yes("PostgresDown", "bids go on; they are archived once it is back");
    if (!state.nats) return yes("NatsDown", "bids go on; they are archived once it is back");
    if (state.deadLetters) {
      return yes(
        "DeadLetters",
        `${state.deadLetters} dead letters wait; replay or discard them: gavel dead-letters`,
      );
    }
    if (state.verified?.ok === false && state.fencedId !== null) {
      return yes("VerifyFailed", state.verified.differences.slice(0, 3).join("; "));
    }
    if (permanent["ArchiveCurrent"]?.reason === "Lagging") {
      return yes("ArchiveLagging", permanent["ArchiveCurrent"].message);
    }
  }
  const short = Object.entries(facts.workloads).find(
    ([, { ready, desired }]) => ready > 0 && ready < desired,
  );
  if (short && phase !== "Pending") {
    return yes("ReplicaShortfall", `${short[0]}: ${short[1].ready} of ${short[1].desired} ready`);
  }
  return no("AsExpected", "nothing is degraded");
}

function stalled(facts: StatusFacts): Value | null {
  const { obstacle, drain, workloads } = facts;
  if (drain?.timedOut) return yes("DrainTimedOut", drain.message);
  if (obstacle !== null) return yes(obstacle.reason, obstacle.message);
  const late = Object.entries(workloads).find(([, { deadlineExceeded }]) => deadlineExceeded);
  if (!late) return null;
  return yes("ProgressDeadlineExceeded", `${late[0]}: ${late[1].deadlineExceeded}`);
}

function draining({ drain }: StatusFacts): Value | null {
  return drain === null ? null : yes(drain.step!, drain.message);
}

const isRolling = ({ observed, updated, current, desired }: Workload) =>
  !observed || updated < desired || current > updated;

function reconciling(facts: StatusFacts, phase: Phase): Value | null {
  if (phase === "Terminating") return yes("Draining", "the Auction is being deleted");
  if (facts.annotations.paused) return null;
  const expected = ["gateway", "broadcast", "archival"] as const;
  const absent = expected.filter((tier) => facts.workloads[tier] === undefined);
  if (absent.length > 0) return yes("Progressing", `${absent.join(", ")} not created yet`);
  const rolling = Object.entries(facts.workloads).filter(([, workload]) => isRolling(workload));
  if (rolling.length > 0) {
    const names = rolling.map(([name, { ready, desired }]) => `${name} ${ready}/${desired}`);
    return yes("RollingUpdate", `pods are being replaced or started: ${names.join(", ")}`);
  }
  return phase === "Pending" ? yes("Progressing", "the stores are being set up") : null;
}

function updatePending({ held }: StatusFacts): Value | null {
  const names = Object.keys(held);
  if (names.length === 0) return null;
  return yes("AuctionOpen", `updatePolicy WhenIdle holds back new pods of ${names.join(", ")}`);
}

function suspended(facts: StatusFacts): Value | null {
  return facts.auction.spec.suspended ? yes("SpecSuspended", "spec.suspended is true") : null;
}

function readyOf(
  facts: StatusFacts,
  phase: Phase,
  all: Readonly<Record<string, Value | null>>,
): Value {
  if (phase === "Terminating") return no("Draining", facts.drain?.message ?? "being deleted");
  const { Stalled, BackingReady, RulesPublished } = all;
  if (Stalled) return no(Stalled.reason, Stalled.message);
  const absent = (["Gateway", "Broadcast", "Archival"] as const).find(
    (tier) => all[`${tier}Available`]?.status !== "True",
  );
  if (absent) return no("TierUnavailable", `${absent}: ${all[`${absent}Available`]!.message}`);
  const state = recentState(facts);
  if (state === null) return { ...unanswered(facts), reason: "ArchivalUnreachable" };
  if (phase === "Settled") return yes("Settled", "over, and the archive is complete");
  if (!state.redis) return no("BackingUnreachable", BackingReady!.message);
  if (phase === "Pending") {
    if (BackingReady!.status !== "True") return no("BackingUnreachable", BackingReady!.message);
    return no("RulesNotPublished", RulesPublished!.message);
  }
  if (phase === "Scheduled" && RulesPublished!.status !== "True") {
    return no("RulesNotPublished", RulesPublished!.message);
  }
  return phase === "Scheduled"
    ? yes("Provisioned", "ready to open")
    : yes("Live", phase === "Open" ? "bids are taken" : "the results are being settled");
}

/** Adds the generation, and the time at which each condition's `status` last changed. */
export function withTransitionTimes(
  conditions: Readonly<Record<string, Value>>,
  previous: readonly Condition[],
  generation: number,
  nowMs: number,
): Condition[] {
  return Object.entries(conditions).map(([type, value]) => {
    const before = previous.find((condition) => condition.type === type);
    const since = before?.status === value.status ? before.lastTransitionTime : null;
    return {
      type,
      ...value,
      observedGeneration: generation,
      lastTransitionTime: since ?? new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z"),
    };
  });
}
