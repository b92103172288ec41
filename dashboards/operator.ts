/** The operator: reconciliation, the queue, its watches, and the auctions by phase. */
import { graph, page, row } from "./panel.ts";
import { rate } from "./queries.ts";

const p99 = (histogram: string, by: string): string =>
  `histogram_quantile(0.99, sum by (le, ${by}) (${rate(`${histogram}_bucket`)}))`;

const OWN = `tier="operator"`;

export const operator = page(
  "operator",
  "Gavel / Operator",
  "It is never on the way of a bid: whatever is seen here, bidding goes on.",
)
  .withRow(row("Auctions"))
  .withPanel(graph("Auctions", "By phase.", [[`max by (phase) (auction_phase)`, "{{phase}}"]]))
  .withPanel(
    graph(
      "Drains",
      "From an auction's deletion to the removal of its finalizer.",
      [
        [`histogram_quantile(0.95, sum by (le) (${rate("auction_drain_seconds_bucket")}))`, "p95"],
        ["sum(auction_drain_seconds_count)", "drained since the start"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Leader", "Exactly one process has the Lease.", [
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
        [`sum(${rate("controller_runtime_terminal_reconcile_errors_total")})`, "given up"],
        [`sum(${rate("controller_runtime_reconcile_errors_total")})`, "failed"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Time of one, p99",
      "From start to end, and how long a key waited before.",
      [
        [p99("controller_runtime_reconcile_time_seconds", "controller"), "reconciliation"],
        [p99("workqueue_queue_duration_seconds", "name"), "wait"],
        [p99("workqueue_work_duration_seconds", "name"), "work"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Queue", "Keys that wait, and keys that come.", [
      ["sum by (name) (workqueue_depth)", "waiting"],
      [`sum by (name) (${rate("workqueue_adds_total")})`, "added/s"],
      [`sum by (name) (${rate("workqueue_retries_total")})`, "retried/s"],
    ]),
  )
  .withPanel(
    graph(
      "Running work",
      "It grows while something hangs.",
      [
        ["max by (name) (workqueue_longest_running_processor_seconds)", "longest"],
        ["max by (name) (workqueue_unfinished_work_seconds)", "all together"],
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph(
      "Fields taken from others",
      "By server-side apply: somebody else writes what is ours.",
      [[`sum by (manager) (${rate("ssa_conflicts_total")})`, "{{manager}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph("Events not written", "Kubernetes events: too many, or refused.", [
      ["sum(gavel_operator_events_dropped_total)", "dropped"],
    ]),
  )
  .withRow(row("API server"))
  .withPanel(
    graph(
      "Requests",
      "By method and code; <error> where none came.",
      [[`sum by (method, code) (${rate("rest_client_requests_total")})`, "{{method}} {{code}}"]],
      { unit: "reqps" },
    ),
  )
  .withPanel(
    graph(
      "Silence of the watches",
      "Bookmarks come every minute.",
      [["max by (resource) (time() - watch_last_event_timestamp_seconds)", "{{resource}}"]],
      { unit: "s", limit: 300 },
    ),
  )
  .withPanel(
    graph("Watches begun anew", "By why.", [
      [`sum by (reason) (${rate("watch_restarts_total")})`, "{{reason}}"],
    ]),
  )
  .withPanel(
    graph("Caches", "1 once filled; missed: what a list showed and the watch never told.", [
      ["min by (resource) (informer_synced)", "{{resource}}"],
      ["sum(informer_missed_events_total)", "missed"],
    ]),
  )
  .withRow(row("Processes"))
  .withPanel(graph("CPU", "Cores.", [[rate(`process_cpu_seconds_total{${OWN}}`), "{{instance}}"]]))
  .withPanel(
    graph("Memory", "Resident.", [[`process_resident_memory_bytes{${OWN}}`, "{{instance}}"]], {
      unit: "bytes",
    }),
  )
  .withPanel(
    graph(
      "Event loop, p99",
      "How late it turns.",
      [[`nodejs_eventloop_lag_p99_seconds{${OWN}}`, "{{instance}}"]],
      { unit: "s" },
    ),
  );
