/** The metrics of the Kubernetes machinery, under the names of controller-runtime and client-go: their dashboards work unchanged. */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Why a watch was started again. */
const WATCH_RESTART_REASONS = [
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
/** client-go's 10 ns to 10 s without the smallest, and 100 s for a key that waits behind a slow one. */
const QUEUE_BUCKETS = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 100];

export type KubeMetrics = ReturnType<typeof createKubeMetrics>;

export function createKubeMetrics(registry: Registry) {
  return { ...queueMetrics(registry), ...watchMetrics(registry), ...clientMetrics(registry) };
}

/** Counters and gauges with one set of labels. */
function metricsLabelled<L extends string>(registry: Registry, labelNames: readonly L[]) {
  const registers = [registry];
  const labels = [...labelNames];
  return {
    counter: (name: string, help: string) =>
      new Counter<L>({ name, help, labelNames: labels, registers }),
    gauge: (name: string, help: string) =>
      new Gauge<L>({ name, help, labelNames: labels, registers }),
    histogram: (name: string, help: string, buckets: number[]) =>
      new Histogram<L>({ name, help, labelNames: labels, buckets, registers }),
  };
}

function queueMetrics(registry: Registry) {
  const queue = metricsLabelled(registry, ["name"]);
  const controller = metricsLabelled(registry, ["controller"]);
  const result = metricsLabelled(registry, ["controller", "result"]);
  return {
    reconciles: result.counter(
      "controller_runtime_reconcile_total",
      "Reconciliations by controller and result.",
    ),
    reconcileErrors: controller.counter(
      "controller_runtime_reconcile_errors_total",
      "Reconciliations that failed.",
    ),
    terminalErrors: controller.counter(
      "controller_runtime_terminal_reconcile_errors_total",
      "Always 0: every failed reconciliation is retried.",
    ),
    reconcileSeconds: controller.histogram(
      "controller_runtime_reconcile_time_seconds",
      "One reconciliation.",
      RECONCILE_BUCKETS,
    ),
    queueDepth: queue.gauge("workqueue_depth", "Keys that wait for a worker."),
    queueAdds: queue.counter(
      "workqueue_adds_total",
      "Keys that were queued, without repeats of a waiting key.",
    ),
    queueRetries: queue.counter(
      "workqueue_retries_total",
      "Keys that were queued again after a failure.",
    ),
    queueSeconds: queue.histogram(
      "workqueue_queue_duration_seconds",
      "Time that a key waited for a worker.",
      QUEUE_BUCKETS,
    ),
    workSeconds: queue.histogram(
      "workqueue_work_duration_seconds",
      "Time that a worker took for a key.",
      QUEUE_BUCKETS,
    ),
    unfinishedSeconds: queue.gauge(
      "workqueue_unfinished_work_seconds",
      "Sum of the running time of all unfinished work: it grows while something hangs.",
    ),
    longestSeconds: queue.gauge(
      "workqueue_longest_running_processor_seconds",
      "Running time of the longest unfinished work.",
    ),
  };
}

function watchMetrics(registry: Registry) {
  const watch = metricsLabelled(registry, ["resource"]);
  const restart = metricsLabelled(registry, ["resource", "reason"]);
  return {
    watchRestarts: restart.counter(
      "watch_restarts_total",
      "Watches that ended and were started again, by reason.",
    ),
    lastEventSeconds: watch.gauge(
      "watch_last_event_timestamp_seconds",
      "When the API server last sent anything on a watch, bookmarks included; Unix time.",
    ),
    synced: watch.gauge("informer_synced", "1 once the cache contains the first list."),
    missedEvents: watch.counter(
      "informer_missed_events_total",
      "Changes that a list showed and the watch missed. Must be 0.",
    ),
  };
}

function clientMetrics(registry: Registry) {
  return {
    requests: metricsLabelled(registry, ["code", "method"]).counter(
      "rest_client_requests_total",
      "Requests to the API server by HTTP status (<error>: no answer) and method.",
    ),
    isLeader: metricsLabelled(registry, ["name"]).gauge(
      "leader_election_master_status",
      "1 while this process holds the Lease.",
    ),
    ssaConflicts: metricsLabelled(registry, ["manager"]).counter(
      "ssa_conflicts_total",
      "Server-side applies that forced fields of another manager, by our manager.",
    ),
  };
}

/** Sets a queue's series to 0: a rate misses the first increment of a counter that did not exist before. */
export function initialiseQueueMetrics(metrics: KubeMetrics, name: string): void {
  for (const result of RECONCILE_RESULTS) metrics.reconciles.inc({ controller: name, result }, 0);
  metrics.reconcileErrors.inc({ controller: name }, 0);
  metrics.terminalErrors.inc({ controller: name }, 0);
  metrics.queueAdds.inc({ name }, 0);
  metrics.queueRetries.inc({ name }, 0);
  metrics.queueDepth.set({ name }, 0);
}

/** Sets a watch's series to 0. */
export function initialiseWatchMetrics(metrics: KubeMetrics, resource: string): void {
  for (const reason of WATCH_RESTART_REASONS) metrics.watchRestarts.inc({ resource, reason }, 0);
  metrics.missedEvents.inc({ resource }, 0);
  metrics.synced.set({ resource }, 0);
}
