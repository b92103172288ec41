/** For each alert: series with which it fires, and series, as like them as can be, with which it does not. */
import { stringify } from "yaml";
import { ALERTS } from "./alerts.ts";
import { alertingOf } from "./rule-files.ts";

const OF = `namespace="fairs",auction="spring"`;
const BID = `${OF},method="POST",route="/v1/lots/:lotId/bids"`;
const BROADCAST = `${OF},tier="broadcast"`;

/** Promtool's words: "0+10x60" begins at 0 and grows by 10, 60 times. */
type Series = Readonly<Record<string, string>>;

interface Case {
  readonly fires: Series;
  readonly quiet: Series;
  /** When both are looked at. */
  readonly at: string;
  /** Of one value to the next. */
  readonly every?: string;
  /** Of the alert that fires, besides severity. */
  readonly labels?: Readonly<Record<string, string>>;
}

const AUCTION = { namespace: "fairs", auction: "spring" };
const OPERATOR = { namespace: "gavel-system" };
const DAYS = { every: "5m", at: "1d" } as const;
const HOUR = { every: "30s", at: "1h" } as const;

const bids = (well: string, failed: string): Series => ({
  [`gavel_gateway_request_duration_seconds_count{${BID},status="201"}`]: well,
  [`gavel_gateway_request_duration_seconds_count{${BID},status="503"}`]: failed,
  [`gavel_broadcast_message_duration_seconds_count{${BROADCAST},type="place_bid",outcome="ok"}`]:
    well,
  [`gavel_broadcast_message_duration_seconds_count{${BROADCAST},type="place_bid",outcome="failed"}`]:
    failed,
});
const answers = (all: string, inTime: string): Series => ({
  [`gavel_gateway_request_duration_seconds_count{${BID},status="201"}`]: all,
  [`gavel_gateway_request_duration_seconds_bucket{${BID},status="201",le="0.05"}`]: inTime,
  [`gavel_broadcast_message_duration_seconds_count{${BROADCAST},type="place_bid",outcome="ok"}`]:
    all,
  [`gavel_broadcast_message_duration_seconds_bucket{${BROADCAST},type="place_bid",outcome="ok",le="0.05"}`]:
    inTime,
});
const lag = (values: string): Series => ({
  [`gavel_archival_archive_lag_seconds{${OF},tier="archival"}`]: values,
});
const feed = (all: string, inTime: string): Series => ({
  [`gavel_broadcast_feed_lag_seconds_count{${BROADCAST}}`]: all,
  [`gavel_broadcast_feed_lag_seconds_bucket{${BROADCAST},le="0.25"}`]: inTime,
});
const one = (metric: string, values: string, and = ""): Series => ({
  [`${metric}{${[OF, and].filter(Boolean).join(",")}}`]: values,
});
/** A counter that must stay at 0. */
const never = (metric: string): Case => ({
  fires: one(metric, "0x10 1x10"),
  quiet: one(metric, "0x20"),
  at: "8m",
});
const outbox = (pending: string): Series => ({
  ...one("gavel_archival_outbox_pending_bytes", pending),
  ...one("gavel_archival_outbox_max_bytes", "1000x20"),
});
const closes = (slow: string): Series => ({
  ...one("gavel_broadcast_closes_total", slow, `reason="slow"`),
  ...one("gavel_broadcast_sockets", "1000x60"),
});
const own = (metric: string, values: string, and = ""): Series => ({
  [`${metric}{${[`namespace="gavel-system"`, and].filter(Boolean).join(",")}}`]: values,
});

export const CASES: Readonly<Record<string, Case>> = {
  // 2 % fail, of 0.05 % that may: 40 times too fast. Then 0.04 %.
  GavelBidAvailability: {
    ...HOUR,
    fires: bids("0+980x130", "0+20x130"),
    quiet: bids("0+9996x130", "0+4x130"),
  },
  GavelBidAvailabilitySlowly: {
    ...DAYS,
    fires: bids("0+9980x300", "0+20x300"),
    quiet: bids("0+9996x300", "0+4x300"),
  },
  GavelBidLatency: {
    ...HOUR,
    fires: answers("0+100x130", "0+80x130"),
    quiet: answers("0+100x130", "0+99x130"),
  },
  GavelBidLatencySlowly: {
    ...DAYS,
    fires: answers("0+100x300", "0+95x300"),
    quiet: answers("0+1000x300", "0+995x300"),
  },
  // Two minutes of an hour, now; two minutes that are over.
  GavelArchiveLate: {
    ...HOUR,
    fires: lag("1x115 60x10"),
    quiet: lag("1x20 60x4 1x100"),
  },
  GavelArchiveLateSlowly: {
    ...DAYS,
    fires: lag("1x270 60 1x4 60 1x4 60 1x10"),
    quiet: lag("1x300"),
  },
  GavelDelivery: {
    ...HOUR,
    fires: feed("0+100x130", "0+90x130"),
    quiet: feed("0+10000x130", "0+9995x130"),
  },
  GavelDeliverySlowly: {
    ...DAYS,
    fires: feed("0+1000x300", "0+995x300"),
    quiet: feed("0+10000x300", "0+9995x300"),
  },
  GavelSequenceRegression: never("gavel_archival_regressions_total"),
  GavelEventsLost: never("gavel_archival_losses_total"),
  GavelArchiveConflict: never("gavel_archival_conflicts_total"),
  GavelAuditViolation: never("gavel_audit_violations_total"),
  GavelOutboxNearLimit: { fires: outbox("850x20"), quiet: outbox("750x20"), at: "5m" },
  GavelStreamFull: never("gavel_archival_stream_full_total"),
  GavelClockLate: {
    fires: one("gavel_archival_clock_overdue_seconds", "0x5 2 6 9 12 15 18 21"),
    quiet: one("gavel_archival_clock_overdue_seconds", "0x5 2 4 0 0 0 0 0"),
    at: "5m",
  },
  GavelStoreNotDurable: {
    fires: one("gavel_archival_store_durability", "1x20", `keeps="no"`),
    quiet: {
      ...one("gavel_archival_store_durability", "0x20", `keeps="no"`),
      ...one("gavel_archival_redis_writes_well", "1x20"),
    },
    at: "5m",
  },
  GavelDeadLetters: {
    fires: one("gavel_archival_dead_letters_waiting", "2x20"),
    quiet: one("gavel_archival_dead_letters_waiting", "0x20"),
    at: "5m",
  },
  GavelNothingRelays: {
    fires: one("gavel_archival_lease_held", "0x20"),
    quiet: {
      ...one("gavel_archival_lease_held", "0x20", `instance="a"`),
      ...one("gavel_archival_lease_held", "1x20", `instance="b"`),
    },
    at: "5m",
  },
  GavelInternalErrors: {
    fires: one("gavel_archival_internal_errors_total", "0x10 1x10", `tier="archival"`),
    quiet: one("gavel_archival_internal_errors_total", "0x20", `tier="archival"`),
    at: "8m",
    labels: { ...AUCTION, tier: "archival" },
  },
  GavelStoreAway: {
    fires: one("gavel_gateway_breaker_state", "2x20", `dependency="redis"`),
    quiet: one("gavel_gateway_breaker_state", "0x8 2 0x8", `dependency="redis"`),
    at: "5m",
    labels: { ...AUCTION, dependency: "redis" },
  },
  GavelViewersTooSlow: {
    fires: closes("0+10x60"),
    quiet: closes("0x20 5x60"),
    at: "20m",
  },
  GavelEventLoopLate: {
    fires: one("nodejs_eventloop_lag_p99_seconds", "0.4x30", `tier="gateway",instance="a"`),
    quiet: one("nodejs_eventloop_lag_p99_seconds", "0.02x30", `tier="gateway",instance="a"`),
    at: "10m",
    labels: { ...AUCTION, tier: "gateway", instance: "a" },
  },
  GavelOperatorNoLeader: {
    fires: own("leader_election_master_status", "0x20"),
    quiet: {
      ...own("leader_election_master_status", "0x20", `instance="a"`),
      ...own("leader_election_master_status", "1x20", `instance="b"`),
    },
    at: "5m",
    labels: OPERATOR,
  },
  GavelReconcileErrors: {
    fires: own("controller_runtime_reconcile_errors_total", "0+1x40", `controller="auction"`),
    quiet: own("controller_runtime_reconcile_errors_total", "0x20 1x20", `controller="auction"`),
    at: "18m",
    labels: OPERATOR,
  },
  GavelOperatorMissedEvents: {
    fires: own("informer_missed_events_total", "0x10 1x20", `resource="auctions"`),
    quiet: own("informer_missed_events_total", "0x30", `resource="auctions"`),
    at: "10m",
    labels: OPERATOR,
  },
  GavelOperatorStuck: {
    fires: own("workqueue_longest_running_processor_seconds", "0+30x30", `name="auction"`),
    quiet: own("workqueue_longest_running_processor_seconds", "0 30 0 30x27", `name="auction"`),
    at: "12m",
    labels: { ...OPERATOR, name: "auction" },
  },
};

/** Days are looked at in steps of minutes: promtool evaluates every rule at every step. */
export type CaseFile = "alerts" | "slowly";
const STEPS: Readonly<Record<CaseFile, string>> = { alerts: "30s", slowly: "5m" };

const fileOf = ({ every }: Case): CaseFile => (every === "5m" ? "slowly" : "alerts");

/** What `promtool test rules` reads. @throws Error for an alert without cases */
export function casesText(of: CaseFile): string {
  const tests = ALERTS.flatMap((alert) => {
    const found = CASES[alert.name];
    if (found === undefined) throw new Error(`${alert.name} has no cases`);
    if (fileOf(found) !== of) return [];
    const { fires, quiet, at, every = "30s", labels = AUCTION } = found;
    const { labels: own, annotations } = alertingOf(alert);
    const fired = { exp_labels: { ...labels, ...own }, exp_annotations: annotations };
    return [
      { name: `${alert.name} fires`, series: fires, alerts: [fired] },
      { name: `${alert.name} stays quiet`, series: quiet, alerts: [] },
    ].map(({ name, series, alerts }) => ({
      name,
      interval: every,
      input_series: Object.entries(series).map(([text, values]) => ({ series: text, values })),
      alert_rule_test: [{ eval_time: at, alertname: alert.name, exp_alerts: alerts }],
    }));
  });
  const file = { rule_files: ["alerts.yaml"], evaluation_interval: STEPS[of], tests };
  return `# Written by \`make generate\` from dashboards/alert-cases.ts; run by promtool test rules.\n${stringify(file, { lineWidth: 0 })}`;
}
