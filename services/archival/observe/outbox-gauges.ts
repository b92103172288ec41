import type { ArchivalMetrics } from "../metrics.ts";
import type { Progress } from "../pipeline/progress.ts";
import { msOf, type StoreObservation } from "./observation.ts";

/** Shows how far relay and archive are behind the outbox. */
export function setOutboxGauges(
  metrics: ArchivalMetrics,
  store: StoreObservation,
  progress: Progress | null,
): void {
  const { nowMs, auction } = store;
  metrics.clock.offsetMs = nowMs - performance.now();
  metrics.pendingBytes.set(auction?.pendingBytes ?? 0);
  metrics.maxPendingBytes.set(auction?.maxPendingBytes ?? 0);
  metrics.overdueSeconds.set(store.overdueMs / 1000);
  metrics.outboxEntries.set(store.outboxEntries);
  metrics.archiveLagSeconds.set(store.unarchivedMs / 1000);
  metrics.relayLagSeconds.set(store.unrelayedMs / 1000);
  metrics.unrelayedEvents.set(store.unrelayedEvents);
  metrics.archiveLagEntries.set(progress?.betweenEntries ?? 0);
  if (progress !== null && progress.archivedId !== "0-0") {
    metrics.watermarkAgeSeconds.set((nowMs - msOf(progress.archivedId)) / 1000);
  }
}
