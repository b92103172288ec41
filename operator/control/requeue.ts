/** When an Auction is reconciled again. */
import type { AuctionStatus } from "../api/auction-status.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { durationMs } from "../api/duration.ts";
import { optionalInstantMs } from "../api/instant.ts";

type TimedSpec = Pick<StoredAuction["spec"], "schedule" | "tiers">;

/** From the opening until the auction is settled. */
const UNSETTLED_MS = 5_000;
/** While the Auction is not Ready. */
const CHANGING_MS = 2_000;
const QUIET_MS = 30_000;

/** How long until the next reconcile if no watch event comes before: at the next due time, or after a jittered interval. */
export function requeueAfterMs(
  { schedule, tiers }: TimedSpec,
  status: AuctionStatus,
  nowMs: number,
): number {
  const { phase = "Pending", phaseSince, conditions = [] } = status;
  const isReady = conditions.some(({ type, status }) => type === "Ready" && status === "True");
  const isUnsettled = phase === "Open" || phase === "Closing" || phase === "Closed";
  const opensAt = optionalInstantMs(schedule.opensAt);
  const due = [
    opensAt === null ? Infinity : opensAt - durationMs(tiers.prewarm),
    opensAt ?? Infinity,
    status.schedule?.effectiveClosesAt ? Date.parse(status.schedule.effectiveClosesAt) : Infinity,
    phase === "Settled" && phaseSince
      ? Date.parse(phaseSince) + durationMs(tiers.scaleDownAfter)
      : Infinity,
  ].filter((atMs) => atMs > nowMs);
  const intervalMs = !isReady ? CHANGING_MS : isUnsettled ? UNSETTLED_MS : QUIET_MS;
  const jittered = intervalMs * (0.9 + 0.2 * Math.random());
  return Math.min(jittered, Math.max(200, Math.min(...due, Infinity) - nowMs + 200));
}
