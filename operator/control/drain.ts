/**
 * What the finalizer does next. Pure, and derived from what is there, not from what was done before: an
 * operator that is killed at any step goes on at the same one.
 */
import type { State } from "../../services/archival/observe/state.ts";
import { compareIds } from "../../services/store/outbox.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { durationMs } from "../api/duration.ts";
import type { Drain, Workloads } from "./observation.ts";

export type DrainAction =
  | "fence"
  | "verify"
  /** Nothing to do but to look again. */
  | "wait"
  /** Gateway and broadcast to 0: the fence where archival cannot set one. */
  | "stop-intake"
  | "close-viewers"
  /** Archival deletes its keys and stream. */
  | "clean"
  /** Delete what has no owner, then let go. */
  | "let-go"
  /** Let go, and leave what holds data: not all of it is proven to be archived. */
  | "release";

export interface DrainStep {
  readonly step: Drain["step"];
  readonly action: DrainAction;
  readonly message: string;
}

export interface DrainSeen {
  readonly auction: StoredAuction;
  readonly workloads: Workloads;
  /** What archival says now; null where it does not answer. */
  readonly state: State | null;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly namespaceEnds: boolean;
}

export const FORCE_RELEASE = "gavel.dev/force-release";

/** How long a namespace that is being deleted is kept waiting. */
const NAMESPACE_MS = 60_000;
/** How long archival may be away before intake is stopped without it. */
const UNFENCED_MS = 30_000;

export function drainStep(seen: DrainSeen): DrainStep {
  const { auction, nowMs, startedAtMs, namespaceEnds } = seen;
  const { deletion } = auction.spec;
  const { uid, annotations } = auction.metadata;
  if (annotations?.[FORCE_RELEASE] === uid) {
    return { step: "Cleanup", action: "release", message: `forced by ${FORCE_RELEASE}` };
  }
  const next = isUnprovisioned(seen)
    ? { step: "Cleanup" as const, action: "let-go" as const, message: "nothing was ever set up" }
    : deletion.policy === "Abandon"
      ? abandoning(seen)
      : draining(seen);
  const waitedMs = nowMs - startedAtMs;
  if (next.action === "let-go") return next;
  if (namespaceEnds && waitedMs >= NAMESPACE_MS) {
    return { ...next, action: "release", message: `the namespace ends; ${next.message}` };
  }
  if (deletion.onTimeout === "Release" && waitedMs >= durationMs(deletion.drainTimeout)) {
    return { ...next, action: "release", message: `drainTimeout is over; ${next.message}` };
  }
  return next;
}

/** Whether the drain takes longer than it may, and is held. */
export function isTimedOut({ auction, nowMs, startedAtMs }: DrainSeen): boolean {
  const { onTimeout, drainTimeout } = auction.spec.deletion;
  return onTimeout === "Hold" && nowMs - startedAtMs >= durationMs(drainTimeout);
}

/** No bid can have been taken: the store never had the auction. */
function isUnprovisioned({ auction, workloads, state }: DrainSeen): boolean {
  const reached = auction.status?.rules?.publishedHash !== undefined;
  if (reached || auction.status?.archive?.fencedId !== undefined) return false;
  if (workloads.archival === undefined) return true;
  return state !== null && state.rulesHash === null && state.phase !== "lost" && state.redis;
}

/** Intake is stopped and viewers are closed; nothing is proven. */
function abandoning(seen: DrainSeen): DrainStep {
  const { state, nowMs, startedAtMs } = seen;
  if (state === null) {
    const message = "archival does not answer, and policy Abandon does not wait for it";
    if (nowMs - startedAtMs >= UNFENCED_MS) return { step: "Cleanup", action: "let-go", message };
    return { step: stepBefore(seen), action: "wait", message: "archival does not answer" };
  }
  if (state.fencedId === null && !state.cleaned) {
    return { step: "StopIntake", action: "fence", message: "no bid is taken any more" };
  }
  return ending(seen);
}

function draining(seen: DrainSeen): DrainStep {
  const { state, nowMs, startedAtMs, workloads } = seen;
  if (state === null) {
    if (isCleanedUp(seen)) return ending(seen);
    const { gateway, broadcast } = workloads;
    const isFenced = seen.auction.status?.archive?.fencedId !== undefined;
    if (isFenced || nowMs - startedAtMs < UNFENCED_MS) {
      return { step: stepBefore(seen), action: "wait", message: "archival does not answer" };
    }
    const left = (gateway?.current ?? 0) + (broadcast?.current ?? 0);
    const message = `archival does not answer; bids are stopped by ending gateway and broadcast (${left} pods left)`;
    return { step: "StopIntake", action: "stop-intake", message };
  }
  if (state.cleaned) return ending(seen);
  if (state.fencedId === null) {
    return { step: "StopIntake", action: "fence", message: "no bid is taken any more" };
  }
  const { fencedId, relayedId, archivedId, verified } = state;
  if (!isUpTo(archivedId, fencedId)) {
    return isUpTo(relayedId, fencedId)
      ? { step: "DrainStream", action: "wait", message: `archived ${archivedId} of ${fencedId}` }
      : { step: "FlushOutbox", action: "wait", message: `relayed ${relayedId} of ${fencedId}` };
  }
  if (!verified?.ok) {
    const differences = verified?.differences.slice(0, 3).join("; ");
    const message = differences ? `the archive differs: ${differences}` : "the archive is compared";
    return { step: "Verify", action: "verify", message };
  }
  return ending(seen);
}

function stepBefore({ auction }: DrainSeen): Drain["step"] {
  return auction.status?.drain?.step ?? "StopIntake";
}

/** Archival itself is deleted last, after it said that it deleted the rest. */
function isCleanedUp({ workloads, auction }: DrainSeen): boolean {
  return workloads.archival === undefined && auction.status?.drain?.step === "Cleanup";
}

function ending(seen: DrainSeen): DrainStep {
  const { workloads, state } = seen;
  const viewers = workloads.broadcast?.current ?? 0;
  if (viewers > 0) {
    const message = `viewers are told and closed (${viewers} pods left)`;
    return { step: "CloseBroadcast", action: "close-viewers", message };
  }
  if (state?.cleaned || isCleanedUp(seen)) {
    return { step: "Cleanup", action: "let-go", message: "keys and stream are deleted" };
  }
  return { step: "Cleanup", action: "clean", message: "keys and stream are being deleted" };
}

/** An outbox that never had an entry has nothing left to do. */
export function isUpTo(reached: string | null, goal: string): boolean {
  if (goal === "0-0") return true;
  return reached !== null && compareIds(reached, goal) >= 0;
}
