/** The pipeline from the outbox through NATS to Postgres: how far each stage is behind. */
import { graph, newDashboard, row } from "./panel.ts";
import { highest, series, perSecond, quantile } from "./queries.ts";

const a = (name: string) => `gavel_archival_${name}`;

export const pipeline = newDashboard(
  "pipeline",
  "Gavel / Pipeline",
  "Outbox, JetStream, Postgres: how far each stage lags behind the one before. Bidders do not wait for the pipeline. When the outbox is full, bids are refused.",
  "gavel_archival_lease_held",
)
  .withRow(row("Lag"))
  .withPanel(
    graph(
      "Lag",
      "Age of the oldest event that is not relayed, and of the oldest that is not archived. Objective: archived within 30 s.",
      [
        [highest(a("relay_lag_seconds")), "relay {{auction}}"],
        [highest(a("archive_lag_seconds")), "archive {{auction}}"],
      ],
      { unit: "s", limit: 30 },
    ),
  )
  .withPanel(
    graph(
      "Events in the pipeline",
      "Not relayed (lost if the volume of Redis is lost), and not archived.",
      [
        [highest(a("unrelayed_events")), "not relayed {{auction}}"],
        [highest(a("unarchived_events")), "not archived {{auction}}"],
        [highest(a("archive_lag_entries")), "entries between the two {{auction}}"],
      ],
    ),
  )
  .withPanel(
    graph(
      "Outbox",
      "At the limit bids are refused until the archive catches up.",
      [
        [highest(a("outbox_pending_bytes")), "not archived {{auction}}"],
        [highest(a("outbox_max_bytes")), "limit {{auction}}"],
      ],
      { unit: "bytes" },
    ),
  )
  .withPanel(
    graph(
      "Throughput",
      "Entries written to JetStream, events written to Postgres.",
      [
        [perSecond(a("relayed_entries_total"), ""), "entries relayed"],
        [perSecond(a("events_total"), ""), "events archived"],
        [perSecond(a("repeated_events_total"), ""), "repeated events"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph("Batch", "Events per transaction.", [
      [quantile(0.5, a("batch_events")), "p50"],
      [quantile(0.99, a("batch_events")), "p99"],
    ]),
  )
  .withPanel(
    graph(
      "Stream",
      "Bytes in JetStream. At the limit it refuses events, and they stay in the outbox.",
      [
        [highest(a("stream_bytes")), "held {{auction}}"],
        [highest(a("stream_max_bytes")), "limit {{auction}}"],
      ],
      { unit: "bytes" },
    ),
  )
  .withRow(row("Must be 0"))
  .withPanel(
    graph("Violations", "Act at once when one is above 0: see RUNBOOK.md.", [
      [`sum(${series(a("regressions_total"))})`, "sequence regressions"],
      [`sum(${series(a("losses_total"))})`, "losses"],
      [`sum(${series(a("conflicts_total"))})`, "archive conflicts"],
      [`sum(${series("gavel_audit_violations_total")})`, "invariant violations"],
    ]),
  )
  .withPanel(
    graph(
      "Dead letters",
      "Events that could not be archived: waiting for replay, and recorded by reason.",
      [
        [`sum(${highest(a("dead_letters_waiting"))})`, "waiting"],
        [`sum by (reason) (${series(a("dead_letters_total"))})`, "{{reason}} since start"],
      ],
    ),
  )
  .withPanel(
    graph(
      "Pipeline restarts",
      "Restarts of relay and archive by reason. Work is repeated, no event is skipped.",
      [
        [
          `sum by (reason) (increase(${series(a("pair_restarts_total"))}[$__rate_interval]))`,
          "{{reason}}",
        ],
      ],
    ),
  )
  .withPanel(
    graph(
      "Invariant monitor",
      "Compares every archived event with the state of its lot before it.",
      [
        [perSecond("gavel_audit_checked_events_total", ""), "events checked/s"],
        [
          `time() - max by (namespace, auction) (${series("gavel_audit_checked_id_seconds")} > 0)`,
          "age of the last checked event in s {{auction}}",
        ],
      ],
    ),
  )
  .withRow(row("Processes and stores"))
  .withPanel(
    graph(
      "Lease holders",
      "One archival process runs the pipeline; one gateway runs the lot clock.",
      [
        [`sum(${series(a("lease_held"))})`, "pipeline"],
        [`sum(${series("gavel_gateway_clock_held")})`, "lot clock"],
      ],
    ),
  )
  .withPanel(
    graph(
      "Circuit breakers",
      "0 closed, 1 half-open (one probe call), 2 open.",
      [
        [`max by (dependency) (${series(a("breaker_state"))})`, "archival to {{dependency}}"],
        [
          `max by (dependency) (${series("gavel_gateway_breaker_state")})`,
          "gateway to {{dependency}}",
        ],
        [
          `max by (dependency) (${series("gavel_broadcast_breaker_state")})`,
          "broadcast to {{dependency}}",
        ],
      ],
      { max: 2 },
    ),
  )
  .withPanel(
    graph(
      "Response time of the stores, p99",
      "Of the health check that archival sends to each store.",
      [[quantile(0.99, a("dependency_answer_seconds"), "dependency"), "{{dependency}}"]],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph(
      "Redis: memory",
      "Used memory. At its limit, if it has one, Redis refuses writes.",
      [
        [highest(a("redis_memory_bytes")), "used {{auction}}"],
        [highest(a("redis_memory_max_bytes")), "limit (0: none) {{auction}}"],
      ],
      { unit: "bytes" },
    ),
  )
  .withPanel(
    graph(
      "Redis: scripts",
      "Share of a core used by scripts, and mean time of one call. Redis uses at most one core for them.",
      [
        [`max(${perSecond(a("redis_script_seconds_total"), "instance")})`, "share of a core"],
        [
          `max(${perSecond(a("redis_script_seconds_total"), "instance")}) / max(${perSecond(a("redis_script_calls_total"), "instance")})`,
          "seconds per call",
        ],
      ],
      { unit: "short" },
    ),
  )
  .withPanel(
    graph("Postgres: connections", "Connections in the pool of archival.", [
      [`sum by (state) (${series(a("postgres_connections"))})`, "{{state}}"],
    ]),
  )
  .withPanel(
    graph("Redis durability", "By its settings: yes must be 1.", [
      [`max by (keeps) (${series(a("store_durability"))})`, "{{keeps}}"],
      [`min(${series(a("redis_writes_well"))})`, "writes to disk succeed"],
    ]),
  );
