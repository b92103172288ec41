/** An Auction's phase: derived from what the data plane reports, never from the operator's clock. Pure. */
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { type Phase, PHASES } from "../api/auction-status.ts";

/** The later of the previous and the reported phase: it never goes back, and stays while nothing is reported. */
export function phaseOf(
  previous: Phase | undefined,
  state: ArchivalState | null,
  deleting: boolean,
): Phase {
  if (deleting) return "Terminating";
  const before = previous ?? "Pending";
  const reported = state === null ? "Pending" : reportedPhase(state);
  return PHASES.indexOf(reported) > PHASES.indexOf(before) ? reported : before;
}

function reportedPhase(state: ArchivalState): Phase {
  if (state.rulesHash === null || state.lots === null) {
    return state.verified?.ok ? "Settled" : "Pending";
  }
  if (state.fencedId !== null) return state.verified?.ok ? "Settled" : "Closed";
  const { opensAtMs, nowMs, suspended, lots } = state;
  if (opensAtMs === null || nowMs === null || nowMs < opensAtMs) return "Scheduled";
  if (lots.open > 0) return "Open";
  return suspended && !isOver(state) ? "Open" : "Closing";
}

/** Whether every lot has its result. */
export function isOver({ lots }: ArchivalState): boolean {
  return lots !== null && lots.sold + lots.unsold + lots.withdrawn === lots.total;
}
