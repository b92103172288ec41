/** What depends on the time: how much of the tiers runs now, and when an Auction is reconciled again. */
import type { AuctionStatus } from "../api/auction-status.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Scale } from "../desired/inputs.ts";
import { durationMs } from "../api/duration.ts";

type TimedSpec = Pick<StoredAuction["spec"], "schedule" | "tiers">;

/** The operator's clock decides how many pods run, and nothing else of an auction. */
export function scaleOf(
  { schedule, tiers }: TimedSpec,
  status: AuctionStatus,
  nowMs: number,
): Scale {
  const { phase = "Pending", phaseSince } = status;
  if (phase === "Pending" || phase === "Scheduled") {
    const opensAt = schedule.opensAt === undefined ? null : Date.parse(schedule.opensAt);
    const prewarmMs = durationMs(tiers.prewarm);
    const isDue = opensAt === null || prewarmMs === 0 || nowMs >= opensAt - prewarmMs;
    return isDue ? "full" : "waiting";
  }
  if (phase !== "Settled" || phaseSince === undefined) return "full";
  const over = Date.parse(phaseSince) + durationMs(tiers.scaleDownAfter);
  return nowMs >= over ? "over" : "full";
}

/** While bids are accepted or results are settled. */
const LIVE_MS = 5_000;
/** While it is not Ready. */
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
  const isLive = phase === "Open" || phase === "Closing" || phase === "Closed";
  const opensAt = schedule.opensAt === undefined ? null : Date.parse(schedule.opensAt);
  const due = [
    opensAt === null ? Infinity : opensAt - durationMs(tiers.prewarm),
    opensAt ?? Infinity,
    status.schedule?.effectiveClosesAt ? Date.parse(status.schedule.effectiveClosesAt) : Infinity,
    phase === "Settled" && phaseSince
      ? Date.parse(phaseSince) + durationMs(tiers.scaleDownAfter)
      : Infinity,
  ].filter((atMs) => atMs > nowMs);
  const intervalMs = !isReady ? CHANGING_MS : isLive ? LIVE_MS : QUIET_MS;
  const jittered = intervalMs * (0.9 + 0.2 * Math.random());
  return Math.min(jittered, Math.max(200, Math.min(...due, Infinity) - nowMs + 200));
}
