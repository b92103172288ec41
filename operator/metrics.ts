/** What the operator counts, under the names that controller-runtime and client-go use: their dashboards work as they are. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** How a watch ended that must be begun anew. */
export const WATCH_RESTART_REASONS = [
  "ended",
  "expired",
  "idle",
  "throttled",
  "unauthorized",
  "refused",
  "reset",
  "missed",
] as const;
export type WatchRestartReason = (typeof WATCH_RESTART_REASONS)[number];

const RECONCILE_RESULTS = ["success", "error", "requeue_after"] as const;

const RECONCILE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** client-go's: 10 ns to 10 s, and one more for what waited behind a slow one. */
const QUEUE_BUCKETS = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 100];

export type OperatorMetrics = ReturnType<typeof createOperatorMetrics>;

/** All series of the machinery, and the two that only the reconciler knows: `auctionPhase` and `auctionDrainSeconds`. */
export function createOperatorMetrics(registry: Registry) {
  const registers = [registry];
  const queueGauge = (name: string, help: string) =>
    new Gauge({ name: `workqueue_${name}`, help, labelNames: ["name"] as const, registers });
  const queueCounter = (name: string, help: string) =>
    new Counter({ name: `workqueue_${name}`, help, labelNames: ["name"] as const, registers });
  const queueHistogram = (name: string, help: string) =>
    new Histogram({
      name: `workqueue_${name}`,
      help,
      labelNames: ["name"] as const,
      buckets: QUEUE_BUCKETS,
      registers,
    });

  return {
    reconciles: new Counter({
      name: "controller_runtime_reconcile_total",
      help: "Reconciliations by controller and result.",
      labelNames: ["controller", "result"] as const,
      registers,
    }),
    reconcileErrors: new Counter({
      name: "controller_runtime_reconcile_errors_total",
      help: "Reconciliations that failed.",
      labelNames: ["controller"] as const,
      registers,
    }),
    terminalErrors: new Counter({
      name: "controller_runtime_terminal_reconcile_errors_total",
      help: "Reconciliations that failed and are not tried again before something changes.",
      labelNames: ["controller"] as const,
      registers,
    }),
    reconcileSeconds: new Histogram({
      name: "controller_runtime_reconcile_time_seconds",
      help: "One reconciliation.",
      labelNames: ["controller"] as const,
      buckets: RECONCILE_BUCKETS,
      registers,
    }),
    queueDepth: queueGauge("depth", "Keys that wait for a worker."),
    queueAdds: queueCounter("adds_total", "Keys that were queued, repeats of a waiting key aside."),
    queueRetries: queueCounter("retries_total", "Keys that were queued again after a failure."),
    queueSeconds: queueHistogram("queue_duration_seconds", "How long a key waited for a worker."),
    workSeconds: queueHistogram("work_duration_seconds", "How long a worker took for a key."),
    unfinishedSeconds: queueGauge(
      "unfinished_work_seconds",
      "Sum of the time that running work has taken so far: it grows while something hangs.",
    ),
    longestSeconds: queueGauge(
      "longest_running_processor_seconds",
      "How long the longest running work has taken so far.",
    ),
    requests: new Counter({
      name: "rest_client_requests_total",
      help: "Requests to the API server by HTTP status (<error> where none came) and method.",
      labelNames: ["code", "method"] as const,
      registers,
    }),
    isLeader: new Gauge({
      name: "leader_election_master_status",
      help: "1 where this process holds the Lease.",
      labelNames: ["name"] as const,
      registers,
    }),
    watchRestarts: new Counter({
      name: "watch_restarts_total",
      help: "Watches that ended and were begun anew, by why.",
      labelNames: ["resource", "reason"] as const,
      registers,
    }),
    lastEventSeconds: new Gauge({
      name: "watch_last_event_timestamp_seconds",
      help: "When the API server last said anything on a watch, bookmarks included; Unix time.",
      labelNames: ["resource"] as const,
      registers,
    }),
    synced: new Gauge({
      name: "informer_synced",
      help: "1 once the cache holds what the API server listed.",
      labelNames: ["resource"] as const,
      registers,
    }),
    missedEvents: new Counter({
      name: "informer_missed_events_total",
      help: "Changes that a list showed and the watch never told. Must be 0.",
      labelNames: ["resource"] as const,
      registers,
    }),
    ssaConflicts: new Counter({
      name: "ssa_conflicts_total",
      help: "Server-side applies that took fields from another manager, by ours.",
      labelNames: ["manager"] as const,
      registers,
    }),
    droppedEvents: new Counter({
      name: "gavel_operator_events_dropped_total",
      help: "Kubernetes events that were not written: too many, or refused.",
      registers,
    }),
    auctionPhase: new Gauge({
      name: "auction_phase",
      help: "Auctions in each phase.",
      labelNames: ["phase"] as const,
      registers,
    }),
    auctionDrainSeconds: new Histogram({
      name: "auction_drain_seconds",
      help: "From an auction's deletion to the removal of its finalizer.",
      buckets: [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800],
      registers,
    }),
  };
}

/** Makes a queue's series exist from the start: a rate over a counter that appears with its first 1 misses it. */
export function beginQueue(metrics: OperatorMetrics, name: string): void {
  for (const result of RECONCILE_RESULTS) metrics.reconciles.inc({ controller: name, result }, 0);
  metrics.reconcileErrors.inc({ controller: name }, 0);
  metrics.terminalErrors.inc({ controller: name }, 0);
  metrics.queueAdds.inc({ name }, 0);
  metrics.queueRetries.inc({ name }, 0);
  metrics.queueDepth.set({ name }, 0);
}

/** The same for a watch. */
export function beginWatch(metrics: OperatorMetrics, resource: string): void {
  for (const reason of WATCH_RESTART_REASONS) metrics.watchRestarts.inc({ resource, reason }, 0);
  metrics.missedEvents.inc({ resource }, 0);
  metrics.synced.set({ resource }, 0);
}
