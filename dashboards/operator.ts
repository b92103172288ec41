/** The operator: auctions by phase, reconciliation, work queue and watches. */
import { graph, newDashboard, row } from "./panel.ts";
import { rate } from "./queries.ts";

const p99 = (histogram: string, by: string): string =>
  `histogram_quantile(0.99, sum by (le, ${by}) (${rate(`${histogram}_bucket`)}))`;

const OWN = `tier="operator"`;

export const operator = newDashboard(
  "operator",
  "Gavel / Operator",
  "The operator takes no part in bidding: bidding continues whatever this dashboard shows.",
)
  .withRow(row("Auctions"))
  .withPanel(graph("Auctions", "By phase.", [[`max by (phase) (auction_phase)`, "{{phase}}"]]))
  .withPanel(
    graph(
      "Drains",
      "From an auction's deletion to the removal of its finalizer.",
      [
        [`histogram_quantile(0.95, sum by (le) (${rate("auction_drain_seconds_bucket")}))`, "p95"],
        ["sum(auction_drain_seconds_count)", "drained since start"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Leader", "Exactly one process holds the Lease.", [
      ["leader_election_master_status", "{{instance}}"],
    ]),
  )
  .withRow(row("Reconciliation"))
  .withPanel(
    graph(
      "Reconciliations",
      "By result.",
      [
        [`sum by (result) (${rate("controller_runtime_reconcile_total")})`, "{{result}}"],
        [`sum(${rate("controller_runtime_terminal_reconcile_errors_total")})`, "terminal errors"],
        [`sum(${rate("controller_runtime_reconcile_errors_total")})`, "errors"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Reconciliation time, p99",
      "Duration of one reconciliation, and how long its key waited in the queue before.",
      [
        [p99("controller_runtime_reconcile_time_seconds", "controller"), "reconciliation"],
        [p99("workqueue_queue_duration_seconds", "name"), "wait"],
        [p99("workqueue_work_duration_seconds", "name"), "work"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Queue", "Keys in the work queue, and keys added to it.", [
      ["sum by (name) (workqueue_depth)", "waiting"],
      [`sum by (name) (${rate("workqueue_adds_total")})`, "added/s"],
      [`sum by (name) (${rate("workqueue_retries_total")})`, "retried/s"],
    ]),
  )
  .withPanel(
    graph(
      "Running reconciliations",
      "Time of the longest one and of all together. It grows while a reconciliation hangs.",
      [
        ["max by (name) (workqueue_longest_running_processor_seconds)", "longest"],
        ["max by (name) (workqueue_unfinished_work_seconds)", "total"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph(
      "Forced applies",
      "Server-side applies that took back fields another manager had changed.",
      [[`sum by (manager) (${rate("ssa_conflicts_total")})`, "{{manager}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph("Dropped Kubernetes events", "Too many, or refused by the API server.", [
      ["sum(gavel_operator_events_dropped_total)", "dropped"],
    ]),
  )
  .withRow(row("API server"))
  .withPanel(
    graph(
      "Requests",
      "By method and code; <error>: no response.",
      [[`sum by (method, code) (${rate("rest_client_requests_total")})`, "{{method}} {{code}}"]],
      { unit: "reqps" },
    ),
  )
  .withPanel(
    graph(
      "Time since the last watch event",
      "Bookmarks arrive every minute.",
      [["max by (resource) (time() - watch_last_event_timestamp_seconds)", "{{resource}}"]],
      { unit: "s", limit: 300 },
    ),
  )
  .withPanel(
    graph("Watch restarts", "By reason.", [
      [`sum by (reason) (${rate("watch_restarts_total")})`, "{{reason}}"],
    ]),
  )
  .withPanel(
    graph(
      "Caches",
      "1: synced. missed: changes that a list returned and the watch had not reported.",
      [
        ["min by (resource) (informer_synced)", "{{resource}}"],
        ["sum(informer_missed_events_total)", "missed"],
      ],
    ),
  )
  .withRow(row("Processes"))
  .withPanel(graph("CPU", "Cores.", [[rate(`process_cpu_seconds_total{${OWN}}`), "{{instance}}"]]))
  .withPanel(
    graph(
      "Memory",
      "Resident set size.",
      [[`process_resident_memory_bytes{${OWN}}`, "{{instance}}"]],
      {
        unit: "bytes",
      },
    ),
  )
  .withPanel(
    graph(
      "Event loop, p99",
      "Delay of the event loop.",
      [[`nodejs_eventloop_lag_p99_seconds{${OWN}}`, "{{instance}}"]],
      { unit: "s" },
    ),
  );
