/** From the outbox over NATS to Postgres: what is on its way, and what stands in it. */
import { graph, page, row } from "./panel.ts";
import { highest, of, perSecond, quantile } from "./queries.ts";

const a = (name: string) => `gavel_archival_${name}`;

export const pipeline = page(
  "pipeline",
  "Gavel / Pipeline",
  "Outbox, JetStream, Postgres: how far each is behind the one before. A bidder never waits for any of it, until the outbox is full.",
  "gavel_archival_lease_held",
)
  .withRow(row("Behind"))
  .withPanel(
    graph(
      "Lag",
      "Age of the oldest event that is not relayed, and not archived. Promised: archived within 30 s.",
      [
        [highest(a("relay_lag_seconds")), "relay {{auction}}"],
        [highest(a("archive_lag_seconds")), "archive {{auction}}"],
      ],
      { unit: "s", limit: 30 },
    ),
  )
  .withPanel(
    graph("Events on their way", "Not relayed (a lost Redis volume loses them), not archived.", [
      [highest(a("unrelayed_events")), "not relayed {{auction}}"],
      [highest(a("unarchived_events")), "not archived {{auction}}"],
      [highest(a("archive_lag_entries")), "entries between the two {{auction}}"],
    ]),
  )
  .withPanel(
    graph(
      "Outbox",
      "At its limit bids are refused until the archive catches up.",
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
      "Entries to JetStream, events to Postgres.",
      [
        [perSecond(a("relayed_entries_total"), ""), "entries relayed"],
        [perSecond(a("events_total"), ""), "events archived"],
        [perSecond(a("repeated_events_total"), ""), "events that were there already"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph("Batch", "Events in one transaction.", [
      [quantile(0.5, a("batch_events")), "p50"],
      [quantile(0.99, a("batch_events")), "p99"],
    ]),
  )
  .withPanel(
    graph(
      "Stream",
      "What JetStream holds; at its limit it refuses, and the outbox keeps it.",
      [
        [highest(a("stream_bytes")), "held {{auction}}"],
        [highest(a("stream_max_bytes")), "limit {{auction}}"],
      ],
      { unit: "bytes" },
    ),
  )
  .withRow(row("Must be 0"))
  .withPanel(
    graph("Never", "Anything above 0 is looked at at once: RUNBOOK.md.", [
      [`sum(${of(a("regressions_total"))})`, "sequence regressions"],
      [`sum(${of(a("losses_total"))})`, "losses"],
      [`sum(${of(a("conflicts_total"))})`, "archive conflicts"],
      [`sum(${of("gavel_audit_violations_total")})`, "audit violations"],
    ]),
  )
  .withPanel(
    graph("Dead letters", "What could not be archived and waits for a person, and how it came.", [
      [`sum(${highest(a("dead_letters_waiting"))})`, "waiting"],
      [`sum by (reason) (${of(a("dead_letters_total"))})`, "{{reason}} since the start"],
    ]),
  )
  .withPanel(
    graph("Begun anew", "Relay and archive, by why. Repeats work, skips nothing.", [
      [
        `sum by (reason) (increase(${of(a("pair_restarts_total"))}[$__rate_interval]))`,
        "{{reason}}",
      ],
    ]),
  )
  .withPanel(
    graph("Audit", "Every archived event is compared with what its lot was before.", [
      [perSecond("gavel_audit_checked_events_total", ""), "events checked a second"],
      [
        `time() - max by (namespace, auction) (${of("gavel_audit_checked_id_seconds")} > 0)`,
        "age of the last one in seconds {{auction}}",
      ],
    ]),
  )
  .withRow(row("Who does it, and on what"))
  .withPanel(
    graph("Lease holders", "One process relays and archives; one gateway's clock runs.", [
      [`sum(${of(a("lease_held"))})`, "relay and archive"],
      [`sum(${of("gavel_gateway_clock_held")})`, "clock"],
    ]),
  )
  .withPanel(
    graph(
      "Breakers",
      "0 closed: calls are made. 1: one call looks. 2: left alone.",
      [
        [`max by (dependency) (${of(a("breaker_state"))})`, "{{dependency}}, asked by archival"],
        [
          `max by (dependency) (${of("gavel_gateway_breaker_state")})`,
          "{{dependency}}, asked by gateway",
        ],
        [
          `max by (dependency) (${of("gavel_broadcast_breaker_state")})`,
          "{{dependency}}, asked by broadcast",
        ],
      ],
      { max: 2 },
    ),
  )
  .withPanel(
    graph(
      "Answers of the stores, p99",
      "To the question whether they are there.",
      [[quantile(0.99, a("dependency_answer_seconds"), "dependency"), "{{dependency}}"]],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph(
      "Redis: memory",
      "What it uses; it refuses writes at its limit, where it has one.",
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
      "Share of a core that scripts take, and the mean of one call. One core is all there is.",
      [
        [`max(${perSecond(a("redis_script_seconds_total"), "instance")})`, "share of a core"],
        [
          `max(${perSecond(a("redis_script_seconds_total"), "instance")}) / max(${perSecond(a("redis_script_calls_total"), "instance")})`,
          "seconds a call",
        ],
      ],
      { unit: "short" },
    ),
  )
  .withPanel(
    graph("Postgres: connections", "Of the archive's pool.", [
      [`sum by (state) (${of(a("postgres_connections"))})`, "{{state}}"],
    ]),
  )
  .withPanel(
    graph("Redis keeps what it acknowledged", "By its settings: 1 at yes is what is wanted.", [
      [`max by (keeps) (${of(a("store_durability"))})`, "{{keeps}}"],
      [`min(${of(a("redis_writes_well"))})`, "writes to disk succeed"],
    ]),
  );
