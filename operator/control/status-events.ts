/** Which changes of a status cause a Kubernetes event. Pure. */
import type { AuctionStatus } from "../api/auction-status.ts";
import type { EventDetails } from "../kube/event-recorder.ts";

/** Conditions that cause an event when they change to this value. */
const REPORTED: Readonly<
  Record<string, { readonly value: "True" | "False"; readonly type: EventDetails["type"] }>
> = {
  Stalled: { value: "True", type: "Warning" },
  Degraded: { value: "True", type: "Warning" },
  BackingReady: { value: "False", type: "Warning" },
  DurabilityWeak: { value: "True", type: "Warning" },
  MemoryShort: { value: "True", type: "Warning" },
  RulesPublished: { value: "True", type: "Normal" },
  UpdatePending: { value: "True", type: "Normal" },
  Suspended: { value: "True", type: "Normal" },
};

export function statusEvents(before: AuctionStatus, after: AuctionStatus): EventDetails[] {
  const events: EventDetails[] = [];
  if (after.phase !== undefined && after.phase !== before.phase) {
    const note = `${before.phase ?? "new"} → ${after.phase}`;
    events.push({ type: "Normal", reason: after.phase, action: "ChangePhase", note });
  }
  const was = (type: string) => before.conditions?.find((condition) => condition.type === type);
  for (const { type, status, reason, message } of after.conditions ?? []) {
    const reported = REPORTED[type];
    const earlier = was(type);
    if (type === "RulesPublished" && reason === "RejectedAuctionOpen") {
      if (earlier?.reason !== reason) {
        events.push({ type: "Warning", reason, action: "PublishRules", note: message });
      }
      continue;
    }
    if (reported === undefined || reported.value !== status) continue;
    if (earlier?.status === status && earlier.reason === reason) continue;
    events.push({ type: reported.type, reason, action: `Set${type}`, note: message });
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
