/** How much of the tiers runs now. Pure. */
import type { AuctionStatus } from "../api/auction-status.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Scale } from "../desired/inputs.ts";
import { durationMs } from "../api/duration.ts";
import { optionalInstantMs } from "../api/instant.ts";

type TimedSpec = Pick<StoredAuction["spec"], "schedule" | "tiers">;

/** The operator's clock decides how many pods run, and nothing else of an auction. */
export function scaleOf(
  { schedule, tiers }: TimedSpec,
  status: AuctionStatus,
  nowMs: number,
): Scale {
  const { phase = "Pending", phaseSince } = status;
  if (phase === "Pending" || phase === "Scheduled") {
    const opensAt = optionalInstantMs(schedule.opensAt);
    const prewarmMs = durationMs(tiers.prewarm);
    const isDue = opensAt === null || prewarmMs === 0 || nowMs >= opensAt - prewarmMs;
    return isDue ? "full" : "waiting";
  }
  if (phase !== "Settled" || phaseSince === undefined) return "full";
  const over = Date.parse(phaseSince) + durationMs(tiers.scaleDownAfter);
  return nowMs >= over ? "over" : "full";
}
