/**
 * Every alert. Each has a section in RUNBOOK.md, and two cases in alert-cases.ts: one in which it fires and
 * one in which it does not.
 */
import { OBJECTIVE_ALERTS } from "./objectives.ts";
import type { Alert } from "./rule.ts";

const BY = "namespace, auction";
const increased = (metric: string, window = "10m"): string =>
  `sum by (${BY}) (increase(${metric}[${window}])) > 0`;

/** Violated guarantees, and conditions that lead to refused bids. */
const GUARANTEE_ALERTS: readonly Alert[] = [
  {
    name: "GavelSequenceRegression",
    severity: "page",
    expr: increased("gavel_archival_regressions_total"),
    for: "0s",
    summary: "Redis lost events that it had acknowledged.",
    means:
      "After a restart or a failover, Redis lacked events that were already relayed, archived or shown. Archival wrote them back under a higher epoch.",
    impact:
      "Bidding paused for the restore and has continued. Relayed and archived bids are not lost. Redis is not durable: the next failure may lose acknowledged bids.",
    check:
      "`logs archival` at level error lists the affected lots. Panel “Redis durability” (Pipeline). `gavel check --auction UID` checks every archived bid.",
    act: "Find out why Redis lost its latest writes: the appendfsync setting, a volume that does not honour fsync, or a failover to a replica that lagged. Until then require a replica for every bid (`spec.backing.redis.durability: Replica`), or move Redis to another volume.",
  },
  {
    name: "GavelEventsLost",
    severity: "page",
    expr: increased("gavel_archival_losses_total"),
    for: "0s",
    summary: "Events were removed from the outbox before they were archived.",
    means:
      "The outbox was trimmed or deleted by hand beyond what Postgres holds. Archival recorded the gap as a dead letter with reason `lost` and continued.",
    impact:
      "Bidding continues. The archive misses events: results of the affected lots may be incomplete.",
    check:
      "`sql \"select * from dead_letters where reason = 'lost'\"` shows the outbox ids before and after the gap. Was Postgres restored from an older backup?",
    act: "If Postgres was restored: restore a later backup, or let archival read what JetStream still holds (docs/backup.md). Otherwise keep the Redis volume unchanged and escalate.",
  },
  {
    name: "GavelArchiveConflict",
    severity: "page",
    expr: increased("gavel_archival_conflicts_total"),
    for: "0s",
    summary: "Two different events have the same lot, epoch and seq.",
    means:
      "Postgres already held an event with this (lot, epoch, seq) and other contents. The first event stays. The second is a dead letter with reason `conflict`. Two Redis servers have decided bids of the same auction.",
    impact: "Two bidders may both have been told that they lead. Results of the lot are disputed.",
    check:
      "`sql \"select * from dead_letters where reason = 'conflict'\"`. `gavel check --auction UID`. Do two Redis servers run: a failover without fencing, or a restored volume beside the old one?",
    act: "Suspend the auction until only one Redis server is left (`suspend`). Both events are kept; decide by what the bidders were told.",
  },
  {
    name: "GavelAuditViolation",
    severity: "page",
    expr: increased("gavel_audit_violations_total"),
    for: "0s",
    summary: "The invariant monitor found an archived history that breaks the rules.",
    means:
      "The events that archival wrote for a lot are out of order, have a gap, or decrease in amount. Label `kind` of the metric names the violation.",
    impact: "Bidding continues. Results of the affected lot cannot be trusted yet.",
    check:
      "`logs archival` at level error shows kind, lot and seq. `gavel check --auction UID` checks the whole auction and prints every verdict.",
    act: "Suspend the auction (`suspend`), keep all volumes unchanged, and compare the lot's rows with the messages in JetStream before its result is used.",
  },
  {
    name: "GavelOutboxNearLimit",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_outbox_pending_bytes / (gavel_archival_outbox_max_bytes > 0)) > 0.8`,
    for: "15s",
    summary: "The outbox is over 80 % full: bids are refused when it is full.",
    means:
      "Postgres has not committed for a while, or commits more slowly than bids arrive, so events accumulate in the outbox in Redis.",
    impact: "None yet. At the limit the gateways answer every bid with 503. Nothing is lost.",
    check:
      "Panels “Outbox”, “Lag”, “Throughput” and “Circuit breakers” (Pipeline). `logs archival`.",
    act: "Bring back Postgres (or NATS) first. If that takes longer than the remaining space lasts and Redis has free memory, raise `spec.tiers.archival.outboxMaxBytes`.",
  },
  {
    name: "GavelStreamFull",
    severity: "page",
    expr: increased("gavel_archival_stream_full_total"),
    for: "0s",
    summary: "JetStream refuses events because it has no space.",
    means:
      "The stream has reached its limit, or the disk of NATS is full. Events stay in the outbox.",
    impact: "None until the outbox is full. Then every bid is refused with 503.",
    check: "Panel “Stream” (Pipeline). Disk: `kubectl -n $NS exec $AUCTION-nats-0 -- df -h`.",
    act: "Enlarge the volume of NATS, or free space on it. Archival continues by itself.",
  },
  {
    name: "GavelClockLate",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_clock_overdue_seconds) > 5
or
sum by (${BY}) (increase(gavel_gateway_clock_lateness_seconds_count[5m])) - sum by (${BY}) (increase(gavel_gateway_clock_lateness_seconds_bucket{le="5"}[5m])) > 0`,
    for: "0s",
    summary: "A lot was opened or closed more than 5 s late.",
    means:
      "One gateway holds the lease of the lot clock and opens and closes lots. No gateway did so in time.",
    impact:
      "No bid is decided wrongly: Redis compares each bid with its own clock. Bidders cannot bid on a lot that should be open, and viewers see a lot as open that is over.",
    check:
      "Panels “Lease holders” (Pipeline; the lot clock must have 1 holder) and “Overdue” (Auction floor). `logs gateway`.",
    act: "If Redis does not answer, bring it back. Otherwise delete the gateway pods one by one (`kubectl -n $NS delete pod POD`): another gateway takes the lease within 5 s and closes what is due.",
  },
  {
    name: "GavelStoreNotDurable",
    severity: "page",
    expr: `max by (${BY}) (gavel_archival_store_durability{keeps="no"}) == 1
or
min by (${BY}) (gavel_archival_redis_writes_well) == 0`,
    for: "1m",
    summary: "Redis may lose bids that it has acknowledged.",
    means:
      "The settings of Redis do not force every write to disk (condition DurabilityWeak of the Auction), or its last write to disk failed.",
    impact: "Bidding continues. A crash of Redis may lose acknowledged bids.",
    check:
      "`kubectl -n $NS describe auction $AUCTION`: DurabilityWeak names the settings. Log of Redis, and free space on its volume.",
    act: "Set appendonly yes, appendfsync always and maxmemory-policy noeviction, or require a replica for every bid (`spec.backing.redis.durability: Replica`).",
  },
];

const COMPONENT_ALERTS: readonly Alert[] = [
  {
    name: "GavelDeadLetters",
    severity: "ticket",
    expr: `max by (${BY}) (gavel_archival_dead_letters_waiting) > 0`,
    for: "1m",
    summary: "Events could not be archived and wait in the dead letters.",
    means:
      "Some events, or foreign messages, are in table `dead_letters` instead of `events`. All other events are archived.",
    impact: "Bidding continues. The history and the result of the affected lots are incomplete.",
    check:
      "`gavel dead-letters list` shows reason, lot and detail of each; `gavel dead-letters show ID` its body.",
    act: "For `conflict` see GavelArchiveConflict, for `lost` see GavelEventsLost. A `foreign` message was never in the outbox: find out who publishes to the subjects of the auction, then discard it. For other reasons remove the cause that `detail` names, then `gavel dead-letters replay ID`. If it can never be archived: `gavel dead-letters discard ID --reason TEXT`. See docs/operating.md#dead-letters.",
  },
  {
    name: "GavelStoreRefuses",
    severity: "page",
    expr: `max by (${BY}, dependency) (gavel_archival_store_refuses) > 0`,
    for: "30s",
    summary: "A store answers archival and refuses: a person must change something.",
    means:
      "The store in the label works, but not for archival: a missing table, permission denied, a rejected password, a full disk. A store that does not answer is GavelStoreAway.",
    impact:
      "Bidding continues. Nothing is archived; events wait in NATS and in the outbox. When the outbox is full, every bid is refused with 503.",
    check:
      "`logs archival`: “store refuses” at level error quotes the store, as do `/readyz` of archival, `status` and the conditions BackingReady and Degraded.",
    act: "Remove the cause that the store names. Archival retries and continues by itself.",
  },
  {
    name: "GavelNothingRelays",
    severity: "page",
    expr: `sum by (${BY}) (gavel_archival_lease_held) == 0`,
    for: "1m",
    summary: "No archival process relays or archives events.",
    means: "Archival processes run, but none holds the lease of the pipeline.",
    impact: "None until the outbox is full. Then every bid is refused with 503.",
    check:
      "`logs archival` names the store that it waits for. Panel “Circuit breakers” (Pipeline).",
    act: "Bring back that store. If none is missing, delete the archival pods: the lease is free after 5 s.",
  },
  {
    name: "GavelInternalErrors",
    severity: "page",
    expr: `sum by (${BY}, tier) (increase(gavel_gateway_internal_errors_total[10m]) or increase(gavel_broadcast_internal_errors_total[10m]) or increase(gavel_archival_internal_errors_total[10m])) > 0`,
    for: "0s",
    summary: "The code of a tier has a defect.",
    means:
      "A request, a message, a batch of bids or the lot clock failed with an error that no outage of a store explains. The caller of a route got status 500 and code `internal`, a bidder of the batch `unknown`.",
    impact:
      "A bid answered with `internal` may or may not have been placed. The same bid with the same idempotency key returns what happened.",
    check:
      "`logs TIER` for the tier in label `tier`: lines that end in “: defect” at level error have the stack, and the route or message type. Panel “Defects” (Tiers). Since when does this version run?",
    act: "If it began with a rollout, roll back. Otherwise report the stack. If bids fail, suspend the auction (`suspend`) until a fixed version runs.",
  },
  {
    name: "GavelStoreAway",
    severity: "page",
    expr: `max by (${BY}, dependency) (gavel_archival_breaker_state or gavel_gateway_breaker_state or gavel_broadcast_breaker_state) > 0`,
    for: "30s",
    summary: "A circuit breaker is open: Redis, NATS, Postgres or archival does not answer.",
    means:
      "Several calls in a row to the dependency in the label failed. The process now sends it only a probe from time to time.",
    impact:
      "redis: every bid is refused with 503. nats or postgres: bidding continues, archiving stops. archival: older bids cannot be listed.",
    check:
      "Panels “Circuit breakers” (which tier cannot reach it) and “Response time of the stores” (Pipeline). Pod and log of the store; `circuit opened` in the log of the tier.",
    act: "Bring the dependency back. The breakers close and all work continues by itself.",
  },
  {
    name: "GavelTokenKeysStale",
    severity: "page",
    expr: `max by (${BY}, tier) (gavel_gateway_token_keys_stale or gavel_broadcast_token_keys_stale) > 0`,
    for: "5m",
    summary:
      "The keys of bidders' tokens cannot be fetched: stale keys are used, for an hour at most.",
    means:
      "The identity provider's key set (`access.jwksUrl`) cannot be fetched or parsed. The keys of the last fetch are still used.",
    impact:
      "None at first. A token that is signed with a new key gets 503. An hour after the last fetch every bidder whose token was not verified within the last minute gets 503.",
    check:
      "Fetch `access.jwksUrl` from a pod of the tier in label `tier`. DNS, the identity provider, its certificate, and network policies.",
    act: "Make the key set available again. The tiers fetch it within 30 s.",
  },
  {
    name: "GavelViewersTooSlow",
    severity: "ticket",
    expr: `sum by (${BY}) (increase(gavel_broadcast_closes_total{reason="slow"}[5m])) > 0.01 * sum by (${BY}) (gavel_broadcast_sockets) and sum by (${BY}) (increase(gavel_broadcast_closes_total{reason="slow"}[5m])) > 10`,
    for: "5m",
    summary: "More than 1 % of the viewers were disconnected because they read too slowly.",
    means: "These viewers read nothing for 10 s, or had more than 1 MiB of unread frames.",
    impact: "They reconnect and resume. Until then they see old amounts.",
    check:
      "Panels “Frames” (conflated) and “Closed connections” (Tiers). Network and CPU of the nodes that run broadcast.",
    act: "If the viewers of one process are affected: look at the network of its node, or delete the pod. If all are: look for an ingress that buffers responses.",
  },
  {
    name: "GavelEventLoopLate",
    severity: "ticket",
    expr: `max by (${BY}, tier, instance) (nodejs_eventloop_lag_p99_seconds{tier=~"gateway|broadcast|archival"}) > 0.2`,
    for: "5m",
    summary: "The event loop of a process lags by more than 200 ms.",
    means: "Everything that this process does waits 200 ms or more.",
    impact:
      "Bids or frames of this process are slow. Above 300 ms a gateway refuses requests with 503.",
    check:
      "Panels “CPU”, “Garbage collection” and “Memory” of that instance (Tiers). Is the container throttled by its CPU limit?",
    act: "Add replicas of the tier, give it more CPU, or remove its CPU limit.",
  },
  {
    name: "GavelOperatorNoLeader",
    severity: "ticket",
    expr: "sum by (namespace) (leader_election_master_status) == 0",
    for: "2m",
    summary: "No operator process holds the Lease.",
    means: "Operator processes run, but none of them reconciles.",
    impact: "Running auctions continue. No auction is opened, scaled, repaired or deleted.",
    check:
      "`kubectl -n $NS logs deployment/gavel-operator`. `kubectl -n $NS get lease gavel-operator -o yaml`. Can the operator reach the API server?",
    act: "Restart the operator: `kubectl -n $NS rollout restart deployment/gavel-operator`. A Lease held by a pod that is gone becomes free after its duration.",
  },
  {
    name: "GavelReconcileErrors",
    severity: "ticket",
    expr: "sum by (namespace) (increase(controller_runtime_reconcile_errors_total[15m])) > 5 or sum by (namespace) (increase(controller_runtime_terminal_reconcile_errors_total[15m])) > 0",
    for: "0s",
    summary: "The operator cannot reconcile an Auction.",
    means: "Reconciliation fails repeatedly, or was given up until something changes.",
    impact:
      "Bidding in running auctions continues. Changes to the affected Auction have no effect.",
    check:
      "`kubectl get auctions -A`. For each that is not Ready: `kubectl -n NAMESPACE describe auction NAME` shows conditions and events. Log of the operator.",
    act: "Do what the condition says: create a missing Secret, raise a quota, or remove the other owner of a field.",
  },
  {
    name: "GavelOperatorMissedEvents",
    severity: "ticket",
    expr: "sum by (namespace) (increase(informer_missed_events_total[15m])) > 0 or max by (namespace) (time() - (watch_last_event_timestamp_seconds > 0)) > 300",
    for: "0s",
    summary: "The operator's watches missed changes, or received nothing for 5 minutes.",
    means:
      "A list returned a change that no watch had reported, or a watch did not even receive a bookmark for 5 minutes.",
    impact: "Bidding continues. The operator reacts late to changes.",
    check:
      "Panels “Time since the last watch event” and “Watch restarts” (Operator). Proxies between the operator and the API server.",
    act: "Restart the operator: `kubectl -n $NS rollout restart deployment/gavel-operator`. Then find out what cuts its connections.",
  },
  {
    name: "GavelOperatorStuck",
    severity: "ticket",
    expr: "max by (namespace, name) (workqueue_longest_running_processor_seconds) > 300",
    for: "0s",
    summary: "One reconciliation has been running for more than 5 minutes.",
    means: "One worker of the operator hangs. The other workers continue.",
    impact: "Bidding continues. Changes to the affected Auction have no effect.",
    check:
      "Panel “Running reconciliations” (Operator). The Auction that no longer appears in the operator's log.",
    act: "Restart the operator: `kubectl -n $NS rollout restart deployment/gavel-operator`. Reconciliation starts over and repeats no completed step.",
  },
];

export const ALERTS: readonly Alert[] = [
  ...OBJECTIVE_ALERTS,
  ...GUARANTEE_ALERTS,
  ...COMPONENT_ALERTS,
];
