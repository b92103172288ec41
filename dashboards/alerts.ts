/** Every alert. Each has a section in RUNBOOK.md, and cases in alert-cases.ts: one that fires, one that does not. */
import { OBJECTIVE_ALERTS } from "./objectives.ts";
import type { Alert } from "./rule.ts";

const BY = "namespace, auction";
const grown = (metric: string, window = "10m"): string =>
  `sum by (${BY}) (increase(${metric}[${window}])) > 0`;

/** What must never be, however the day goes. */
const NEVER: readonly Alert[] = [
  {
    name: "GavelSequenceRegression",
    severity: "page",
    expr: grown("gavel_archival_regressions_total"),
    for: "0s",
    summary: "Redis came back with less than it had acknowledged.",
    means:
      "After a restart or a failover Redis lacked events that had been relayed, archived or shown. Archival put them back under a higher epoch and bidding went on; nothing that was archived or relayed is lost, but Redis did not keep what it said was on disk.",
    look: "Archival's log: “the store has less than was acknowledged”, with the lots. Pipeline: “Redis keeps what it acknowledged”. `gavel verify` on the auction.",
    act: "Find out why Redis lost its tail: appendfsync, a volume that lies about fsync, a failover to a replica. Until then have bids wait for a replica (`spec.backing.redis.durability: Replica`), or move the auction's Redis.",
  },
  {
    name: "GavelEventsLost",
    severity: "page",
    expr: grown("gavel_archival_losses_total"),
    for: "0s",
    summary: "The outbox no longer has events that the archive lacks.",
    means:
      "The outbox was trimmed, or cut off by hand, beyond what Postgres has. Archival recorded the gap as a dead letter with reason `lost` and went on.",
    look: "Table `dead_letters` (reason lost): the outbox ids before and after. Whether Postgres was restored to an earlier day.",
    act: "If Postgres was restored: restore the later backup, or let archival take what JetStream still holds (services/archival/BACKUP.md). Otherwise keep Redis's volume as it is and call for help.",
  },
  {
    name: "GavelArchiveConflict",
    severity: "page",
    expr: grown("gavel_archival_conflicts_total"),
    for: "0s",
    summary: "Two different events have the same seq of the same lot.",
    means:
      "Postgres had an event under this (lot, epoch, seq) with other contents. The first one stays; the other is a dead letter with reason `conflict`. Two Redis servers have decided the same auction.",
    look: "Table `dead_letters` (reason conflict), and `gavel verify`. Whether two Redis servers run: a failover without fencing, a restored volume beside the old one.",
    act: "Suspend the auction (spec.suspended) until only one Redis is left. Both events are kept: what bidders were told decides which one holds.",
  },
  {
    name: "GavelAuditViolation",
    severity: "page",
    expr: grown("gavel_audit_violations_total"),
    for: "0s",
    summary: "The continuous audit found an archived history that breaks the rules.",
    means:
      "What archival wrote is out of order, has a gap, or goes down in amount. Every event is checked as it is archived; label `kind` of the metric says what is wrong.",
    look: "Archival's log: the violation with its lot and seq. `gavel verify` judges the whole auction and names each verdict.",
    act: "Suspend the auction (spec.suspended), keep all volumes as they are, and compare the lot's rows with JetStream's messages before anything is sold.",
  },
  {
    name: "GavelOutboxNearLimit",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_outbox_pending_bytes / (gavel_archival_outbox_max_bytes > 0)) > 0.8`,
    for: "15s",
    summary: "The outbox is over 80 % full: at its limit bids are refused.",
    means:
      "Postgres has not committed for so long, or so slowly, that the outbox in Redis is nearly full. At the limit the gateways answer 503 and lose nothing.",
    look: "Pipeline: “Outbox”, “Lag”, “Throughput”, “Breakers”.",
    act: "Bring back Postgres (or NATS) first. If that takes longer than is left and Redis has memory, raise `spec.tiers.archival.outboxMaxBytes`.",
  },
  {
    name: "GavelStreamFull",
    severity: "page",
    expr: grown("gavel_archival_stream_full_total"),
    for: "0s",
    summary: "JetStream refuses events for lack of space.",
    means:
      "The stream has reached its limit, or NATS's disk is full. Events stay in the outbox, which fills.",
    look: "Pipeline: “Stream”, and the disk of the NATS volume.",
    act: "Give NATS space. Archival goes on by itself.",
  },
  {
    name: "GavelClockLate",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_clock_overdue_seconds) > 5
or
sum by (${BY}) (increase(gavel_gateway_clock_lateness_seconds_count[5m])) - sum by (${BY}) (increase(gavel_gateway_clock_lateness_seconds_bucket{le="5"}[5m])) > 0`,
    for: "0s",
    summary: "A lot was not opened or closed in time.",
    means:
      "More than 5 s after its time a lot was not opened or closed by any gateway's clock. No bid is decided wrongly (the script compares with Redis's clock), but viewers see a lot open that is over.",
    look: "Pipeline: “Lease holders” (the clock must be 1), gateways' logs: “the clock stands still”. Auction floor: “Overdue”.",
    act: "Restart the gateway that holds the clock, or bring back Redis: the next gateway takes the lease within 5 s and closes what is due.",
  },
  {
    name: "GavelStoreNotDurable",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_store_durability{keeps="no"}) == 1
or
min by (${BY}) (gavel_archival_redis_writes_well) == 0`,
    for: "1m",
    summary: "Redis may lose bids that it acknowledged.",
    means:
      "By its settings (condition DurabilityWeak of the Auction) or by the state of its last write, Redis does not have every acknowledged bid on disk.",
    look: "`kubectl describe auction`: DurabilityWeak names the settings. Redis's log, and the space on its volume.",
    act: "Set appendonly yes, appendfsync always, maxmemory-policy noeviction, or have bids wait for a replica (`spec.backing.redis.durability: Replica`).",
  },
];

const PARTS: readonly Alert[] = [
  {
    name: "GavelDeadLetters",
    severity: "ticket",
    expr: `max by (${BY}) (gavel_archival_dead_letters_waiting) > 0`,
    for: "1m",
    summary: "Events could not be archived, and wait to be replayed.",
    means:
      "Some events are in table `dead_letters` instead of the archive. Nothing stops for them.",
    look: "`select reason, detail, lot_id, outbox_id from dead_letters where replayed_at is null`.",
    act: "For `conflict` and `lost` see GavelArchiveConflict and GavelEventsLost. For the others remove the cause that `detail` names and replay them: POST /internal/v1/dead-letters/{id}/replay of archival.",
  },
  {
    name: "GavelNothingRelays",
    severity: "page",
    expr: `sum by (${BY}) (gavel_archival_lease_held) == 0`,
    for: "1m",
    summary: "No process relays and archives.",
    means: "Every archival process runs without the lease: events pile up in the outbox.",
    look: "Archival's log: “waiting for a store”, “relay and archive begin anew”. Pipeline: “Breakers”.",
    act: "Bring back the store it waits for. If none is missing, restart archival: the lease is free after 5 s.",
  },
  {
    name: "GavelInternalErrors",
    severity: "page",
    expr: `sum by (${BY}, tier) (increase(gavel_gateway_internal_errors_total[10m]) or increase(gavel_broadcast_internal_errors_total[10m]) or increase(gavel_archival_internal_errors_total[10m])) > 0`,
    for: "0s",
    summary: "A tier answered requests with `internal`: it has a defect.",
    means:
      "A request or a message failed with an error that no outage explains: a defect of Gavel, not of a store. The caller got status 500 and code `internal`. A bid that was answered so may or may not have been placed: the same bid with the same key tells which.",
    look: "The log of the tier in label `tier`: “request failed: defect” at level error, with the route or the message type and the stack. Tiers: “Defects”. Which version runs since when.",
    act: "Roll back if it began with a rollout. Otherwise report the stack; if bids fail, suspend the auction (spec.suspended) until a mended version runs.",
  },
  {
    name: "GavelStoreAway",
    severity: "page",
    expr: `max by (${BY}, dependency) (gavel_archival_breaker_state or gavel_gateway_breaker_state or gavel_broadcast_breaker_state) > 0`,
    for: "30s",
    summary: "Redis, NATS, Postgres or archival does not answer the tiers.",
    means:
      "Calls failed in a row, and the dependency of the label is left alone but for a probe. Redis: bids are refused. NATS or Postgres: bidding goes on, the archive does not. Archival: old bids cannot be listed.",
    look: "Pipeline: “Breakers” (who asks), “Answers of the stores”. The store's own pod and log.",
    act: "Bring it back; whatever waits goes on by itself.",
  },
  {
    name: "GavelViewersTooSlow",
    severity: "ticket",
    expr: `sum by (${BY}) (increase(gavel_broadcast_closes_total{reason="slow"}[5m])) > 0.01 * sum by (${BY}) (gavel_broadcast_sockets) and sum by (${BY}) (increase(gavel_broadcast_closes_total{reason="slow"}[5m])) > 10`,
    for: "5m",
    summary: "More than 1 % of the viewers are closed as too slow.",
    means:
      "They did not read for 10 s, or have more than 1 MiB unread. They may come back and resume.",
    look: "Tiers: “Frames” (conflated), network and CPU of broadcast's nodes.",
    act: "If it is all viewers of one process: that node's network. If of all: an ingress that buffers.",
  },
  {
    name: "GavelEventLoopLate",
    severity: "ticket",
    expr: `max by (${BY}, tier, instance) (nodejs_eventloop_lag_p99_seconds{tier=~"gateway|broadcast|archival"}) > 0.2`,
    for: "5m",
    summary: "A process turns its event loop too slowly.",
    means:
      "Everything that the process does waits 200 ms and more. Above 300 ms a gateway refuses requests.",
    look: "Tiers: CPU, garbage collection and memory of that instance; whether its node is throttled.",
    act: "More replicas of its tier, more CPU, or a CPU limit that is taken away.",
  },
  {
    name: "GavelOperatorNoLeader",
    severity: "ticket",
    expr: "sum by (namespace) (leader_election_master_status) == 0",
    for: "2m",
    summary: "No operator holds the Lease.",
    means:
      "Auctions are not reconciled: nothing is opened, scaled or deleted. Those that run go on.",
    look: "The operator's log; Lease gavel-operator in its namespace; its access to the API server.",
    act: "Restart the operator. If the Lease is held by a pod that is gone, it is free after its duration.",
  },
  {
    name: "GavelReconcileErrors",
    severity: "ticket",
    expr: "sum by (namespace) (increase(controller_runtime_reconcile_errors_total[15m])) > 5 or sum by (namespace) (increase(controller_runtime_terminal_reconcile_errors_total[15m])) > 0",
    for: "0s",
    summary: "Auctions cannot be reconciled.",
    means: "The operator fails again and again, or gave one up until something changes.",
    look: "`kubectl get auctions -A`, conditions and events of those that are not Ready; the operator's log.",
    act: "What the condition says: a Secret that is missing, a quota, a field that somebody else owns.",
  },
  {
    name: "GavelOperatorMissedEvents",
    severity: "ticket",
    expr: "sum by (namespace) (increase(informer_missed_events_total[15m])) > 0 or max by (namespace) (time() - (watch_last_event_timestamp_seconds > 0)) > 300",
    for: "0s",
    summary: "The operator's watches miss changes, or are silent.",
    means:
      "A list showed what no watch had told, or nothing came for 5 minutes, not even a bookmark.",
    look: "Operator: “Silence of the watches”, “Watches begun anew”. Proxies between operator and API server.",
    act: "Restart the operator; then find what cuts its connections.",
  },
  {
    name: "GavelOperatorStuck",
    severity: "ticket",
    expr: "max by (namespace, name) (workqueue_longest_running_processor_seconds) > 300",
    for: "0s",
    summary: "A reconciliation has run for more than 5 minutes.",
    means: "A worker hangs. Other auctions are reconciled by the others.",
    look: "Operator: “Running work”, and the operator's log for the auction that is missing there.",
    act: "Restart the operator: reconciliation begins anew and repeats nothing that was done.",
  },
];

export const ALERTS: readonly Alert[] = [...OBJECTIVE_ALERTS, ...NEVER, ...PARTS];
