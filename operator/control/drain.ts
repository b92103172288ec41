/**
 * Decides the next step of a drain. Pure, and derived from what exists, not from what was done before: an
 * operator that is killed at any step continues with the same one.
 */
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { compareIds } from "../../services/store/outbox.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { durationMs } from "../api/duration.ts";
import type { Drain } from "./status-facts.ts";
import type { Workloads } from "./workload.ts";

type DrainAction =
  | "fence"
  | "verify"
  /** Nothing to do before the next reconcile. */
  | "wait"
  /** Scale gateway and broadcast to 0, in place of a fence that archival cannot set. */
  | "stop-intake"
  /** Nothing but the scale: in the step CloseBroadcast, broadcast is scaled to 0. */
  | "close-viewers"
  /** Archival deletes the Auction's keys and stream. */
  | "clean"
  /** Delete what has no owner, then remove the finalizer. */
  | "complete"
  /** Remove the finalizer and keep everything that holds data: the archive is not proven complete. */
  | "release";

export interface DrainDecision {
  readonly step: Drain["step"];
  readonly action: DrainAction;
  readonly message: string;
}

export interface DrainFacts {
  readonly auction: StoredAuction;
  readonly workloads: Workloads;
  /** What archival reports now; null if it does not answer. */
  readonly state: ArchivalState | null;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly isNamespaceTerminating: boolean;
}

export const FORCE_RELEASE = "gavel.dev/force-release";

/** How long a drain may hold up the deletion of its namespace. */
const NAMESPACE_DRAIN_MAX_MS = 60_000;
/** How long archival may fail to answer before intake is stopped without it. */
const UNANSWERED_MAX_MS = 30_000;

export function decideDrain(facts: DrainFacts): DrainDecision {
  const { auction, nowMs, startedAtMs, isNamespaceTerminating } = facts;
  const { deletion } = auction.spec;
  const { uid, annotations } = auction.metadata;
  if (annotations?.[FORCE_RELEASE] === uid) {
    return { step: "Cleanup", action: "release", message: `forced by ${FORCE_RELEASE}` };
  }
  const next = isUnprovisioned(facts)
    ? {
        step: "Cleanup" as const,
        action: "complete" as const,
        message: "the stores never had this auction",
      }
    : deletion.policy === "Abandon"
      ? decideAbandon(facts)
      : decideProof(facts);
  const waitedMs = nowMs - startedAtMs;
  if (next.action === "complete") return next;
  if (isNamespaceTerminating && waitedMs >= NAMESPACE_DRAIN_MAX_MS) {
    return {
      ...next,
      action: "release",
      message: `the namespace is being deleted; ${next.message}`,
    };
  }
  if (deletion.onTimeout === "Release" && waitedMs >= durationMs(deletion.drainTimeout)) {
    return { ...next, action: "release", message: `drainTimeout is over; ${next.message}` };
  }
  return next;
}

/** Whether the drain exceeds drainTimeout and is held. */
export function isTimedOut({ auction, nowMs, startedAtMs }: DrainFacts): boolean {
  const { onTimeout, drainTimeout } = auction.spec.deletion;
  return onTimeout === "Hold" && nowMs - startedAtMs >= durationMs(drainTimeout);
}

/** Whether no bid can have been accepted, as the store never had the auction. */
function isUnprovisioned({ auction, workloads, state }: DrainFacts): boolean {
  const isPublished = auction.status?.rules?.publishedHash !== undefined;
  if (isPublished || auction.status?.archive?.fencedId !== undefined) return false;
  if (workloads.archival === undefined) return true;
  return state !== null && state.rulesHash === null && state.phase !== "lost" && state.redis;
}

/** Policy Abandon: intake is closed and viewers are disconnected, without a completeness proof. */
function decideAbandon(facts: DrainFacts): DrainDecision {
  const { state, nowMs, startedAtMs } = facts;
  if (state === null) {
    const message = "archival does not answer, and policy Abandon does not wait for it";
    if (nowMs - startedAtMs >= UNANSWERED_MAX_MS)
      return { step: "Cleanup", action: "complete", message };
    return { step: currentStep(facts), action: "wait", message: "archival does not answer" };
  }
  if (state.fencedId === null && !state.cleaned) {
    return { step: "StopIntake", action: "fence", message: "intake is closed" };
  }
  return decideEnd(facts);
}

/** Policy Drain: everything accepted is archived, and the archive is proven complete. */
function decideProof(facts: DrainFacts): DrainDecision {
  const { state, nowMs, startedAtMs, workloads } = facts;
  if (state === null) {
    if (isCleanedUp(facts)) return decideEnd(facts);
    const { gateway, broadcast } = workloads;
    const isFenced = facts.auction.status?.archive?.fencedId !== undefined;
    if (isFenced || nowMs - startedAtMs < UNANSWERED_MAX_MS) {
      return { step: currentStep(facts), action: "wait", message: "archival does not answer" };
    }
    const left = (gateway?.current ?? 0) + (broadcast?.current ?? 0);
    const message = `archival does not answer; gateway and broadcast are scaled to 0 to stop intake (${left} pods left)`;
    return { step: "StopIntake", action: "stop-intake", message };
  }
  if (state.cleaned) return decideEnd(facts);
  if (state.fencedId === null) {
    return { step: "StopIntake", action: "fence", message: "intake is closed" };
  }
  const { fencedId, relayedId, archivedId, verified } = state;
  if (!hasReached(archivedId, fencedId)) {
    return hasReached(relayedId, fencedId)
      ? { step: "DrainStream", action: "wait", message: `archived ${archivedId} of ${fencedId}` }
      : { step: "FlushOutbox", action: "wait", message: `relayed ${relayedId} of ${fencedId}` };
  }
  if (!verified?.ok) {
    const differences = verified?.differences.slice(0, 3).join("; ");
    const message = differences
      ? `the archive differs: ${differences}`
      : "the archive is being compared with the store";
    return { step: "Verify", action: "verify", message };
  }
  return decideEnd(facts);
}

function currentStep({ auction }: DrainFacts): Drain["step"] {
  return auction.status?.drain?.step ?? "StopIntake";
}

/** Archival is deleted last, after it reported that keys and stream are deleted. */
function isCleanedUp({ workloads, auction }: DrainFacts): boolean {
  return workloads.archival === undefined && auction.status?.drain?.step === "Cleanup";
}

function decideEnd(facts: DrainFacts): DrainDecision {
  const { workloads, state } = facts;
  const viewers = workloads.broadcast?.current ?? 0;
  if (viewers > 0) {
    const message = `viewers are being disconnected (${viewers} pods left)`;
    return { step: "CloseBroadcast", action: "close-viewers", message };
  }
  if (state?.cleaned || isCleanedUp(facts)) {
    return { step: "Cleanup", action: "complete", message: "keys and stream are deleted" };
  }
  return { step: "Cleanup", action: "clean", message: "keys and stream are being deleted" };
}

/** Whether an outbox id is at or after `goalId`. The id of an empty outbox is always reached. */
export function hasReached(outboxId: string | null, goalId: string): boolean {
  if (goalId === "0-0") return true;
  return outboxId !== null && compareIds(outboxId, goalId) >= 0;
}
