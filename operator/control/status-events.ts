/** Which changes of a status are worth an Event. Pure. */
import type { AuctionStatus } from "../api/auction-status.ts";

export interface ChangeEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

/** Conditions that are told when they turn to this value. */
const TOLD: Readonly<
  Record<string, { readonly value: "True" | "False"; readonly type: ChangeEvent["type"] }>
> = {
  Stalled: { value: "True", type: "Warning" },
  Degraded: { value: "True", type: "Warning" },
  BackingReady: { value: "False", type: "Warning" },
  DurabilityWeak: { value: "True", type: "Warning" },
  RulesPublished: { value: "True", type: "Normal" },
  UpdatePending: { value: "True", type: "Normal" },
  Suspended: { value: "True", type: "Normal" },
};

export function statusEvents(before: AuctionStatus, after: AuctionStatus): ChangeEvent[] {
  const events: ChangeEvent[] = [];
  if (after.phase !== undefined && after.phase !== before.phase) {
    const note = `${before.phase ?? "new"} → ${after.phase}`;
    events.push({ type: "Normal", reason: after.phase, action: "ChangePhase", note });
  }
  const was = (type: string) => before.conditions?.find((condition) => condition.type === type);
  for (const { type, status, reason, message } of after.conditions ?? []) {
    const told = TOLD[type];
    const earlier = was(type);
    if (type === "RulesPublished" && reason === "RejectedAuctionOpen") {
      if (earlier?.reason !== reason) {
        events.push({ type: "Warning", reason, action: "PublishRules", note: message });
      }
      continue;
    }
    if (told === undefined || told.value !== status) continue;
    if (earlier?.status === status && earlier.reason === reason) continue;
    events.push({ type: told.type, reason, action: `Set${type}`, note: message });
  }
  if (after.archive?.verifiedAt !== undefined && before.archive?.verifiedAt === undefined) {
    const note = `the archive holds every event up to ${after.archive.archivedId}`;
    events.push({ type: "Normal", reason: "ArchiveVerified", action: "Verify", note });
  }
  const step = after.drain?.step;
  if (step !== undefined && step !== before.drain?.step) {
    const note = after.drain?.message ?? step;
    events.push({ type: "Normal", reason: step, action: "Drain", note });
  }
  return events;
}
