/** When things are due: how much of the tiers runs now, and when to look at an Auction again. Pure. */
import type { AuctionStatus } from "../api/auction-status.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Scale } from "../desired/context.ts";
import { durationMs } from "../api/duration.ts";

type Spec = Pick<StoredAuction["spec"], "schedule" | "tiers">;

/** The operator's clock decides this and nothing else of an auction: whether pods are worth having. */
export function scaleOf({ schedule, tiers }: Spec, status: AuctionStatus, nowMs: number): Scale {
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

const LIVE_MS = 5_000;
const CHANGING_MS = 2_000;
const CALM_MS = 30_000;

/** How long until an Auction is worth another look even if nothing is heard of it. With jitter. */
export function lookAgainMs(
  { schedule, tiers }: Spec,
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
  const regularMs = phase === "Terminating" || !isReady ? CHANGING_MS : isLive ? LIVE_MS : CALM_MS;
  const jittered = regularMs * (0.9 + 0.2 * Math.random());
  return Math.min(jittered, Math.max(200, Math.min(...due, Infinity) - nowMs + 200));
}
