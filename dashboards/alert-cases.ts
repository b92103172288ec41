/** For each alert: series for which it fires, and similar series for which it does not. */
import { stringify } from "yaml";
import { ALERTS } from "./alerts.ts";
import { alertingOf } from "./rule-files.ts";

/** Series get their namespace in casesText(): each case has its own. */
const LABELS = `auction="spring"`;
const BID = `${LABELS},method="POST",route="/v1/lots/:lotId/bids"`;
const BROADCAST = `${LABELS},tier="broadcast"`;

/** In the notation of promtool: "0+10x60" starts at 0 and grows by 10, 60 times. */
type Series = Readonly<Record<string, string>>;

interface Case {
  readonly fires: Series;
  readonly quiet: Series;
  /** When both are evaluated. */
  readonly at: string;
  /** Interval between two values. */
  readonly every?: string;
  /** Labels of the firing alert besides severity and namespace. */
  readonly labels?: Readonly<Record<string, string>>;
}

const AUCTION = { auction: "spring" };
const OPERATOR = {};
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
  [`gavel_archival_archive_lag_seconds{${LABELS},tier="archival"}`]: values,
});
const feed = (all: string, inTime: string): Series => ({
  [`gavel_broadcast_feed_lag_seconds_count{${BROADCAST}}`]: all,
  [`gavel_broadcast_feed_lag_seconds_bucket{${BROADCAST},le="0.25"}`]: inTime,
});
const ofAuction = (metric: string, values: string, matchers = ""): Series => ({
  [`${metric}{${[LABELS, matchers].filter(Boolean).join(",")}}`]: values,
});
/** For a counter that must stay at 0. */
const mustStayZero = (metric: string): Case => ({
  fires: ofAuction(metric, "0x10 1x10"),
  quiet: ofAuction(metric, "0x20"),
  at: "8m",
});
const outbox = (pending: string): Series => ({
  ...ofAuction("gavel_archival_outbox_pending_bytes", pending),
  ...ofAuction("gavel_archival_outbox_max_bytes", "1000x20"),
});
const closes = (slow: string): Series => ({
  ...ofAuction("gavel_broadcast_closes_total", slow, `reason="slow"`),
  ...ofAuction("gavel_broadcast_sockets", "1000x60"),
});
const ofOperator = (metric: string, values: string, matchers = ""): Series => ({
  [`${metric}{${matchers}}`]: values,
});

export const CASES: Readonly<Record<string, Case>> = {
  // 2 % fail where 0.05 % may: a burn rate of 40. Then 0.04 %.
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
  // Late for two minutes of an hour, until now; then the same two minutes, but in the past.
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
  GavelSequenceRegression: mustStayZero("gavel_archival_regressions_total"),
  GavelEventsLost: mustStayZero("gavel_archival_losses_total"),
  GavelArchiveConflict: mustStayZero("gavel_archival_conflicts_total"),
  GavelAuditViolation: mustStayZero("gavel_audit_violations_total"),
  GavelOutboxNearLimit: { fires: outbox("850x20"), quiet: outbox("750x20"), at: "5m" },
  GavelStreamFull: mustStayZero("gavel_archival_stream_full_total"),
  GavelClockLate: {
    fires: ofAuction("gavel_archival_clock_overdue_seconds", "0x5 2 6 9 12 15 18 21"),
    quiet: ofAuction("gavel_archival_clock_overdue_seconds", "0x5 2 4 0 0 0 0 0"),
    at: "5m",
  },
  GavelStoreNotDurable: {
    fires: ofAuction("gavel_archival_store_durability", "1x20", `keeps="no"`),
    quiet: {
      ...ofAuction("gavel_archival_store_durability", "0x20", `keeps="no"`),
      ...ofAuction("gavel_archival_redis_writes_well", "1x20"),
    },
    at: "5m",
  },
  GavelDeadLetters: {
    fires: ofAuction("gavel_archival_dead_letters_waiting", "2x20"),
    quiet: ofAuction("gavel_archival_dead_letters_waiting", "0x20"),
    at: "5m",
  },
  GavelStoreRefuses: {
    fires: ofAuction("gavel_archival_store_refuses", "1x20", `dependency="postgres"`),
    quiet: ofAuction("gavel_archival_store_refuses", "0x20", `dependency="postgres"`),
    at: "5m",
    labels: { ...AUCTION, dependency: "postgres" },
  },
  GavelNothingRelays: {
    fires: ofAuction("gavel_archival_lease_held", "0x20"),
    quiet: {
      ...ofAuction("gavel_archival_lease_held", "0x20", `instance="a"`),
      ...ofAuction("gavel_archival_lease_held", "1x20", `instance="b"`),
    },
    at: "5m",
  },
  GavelInternalErrors: {
    fires: ofAuction("gavel_archival_internal_errors_total", "0x10 1x10", `tier="archival"`),
    quiet: ofAuction("gavel_archival_internal_errors_total", "0x20", `tier="archival"`),
    at: "8m",
    labels: { ...AUCTION, tier: "archival" },
  },
  GavelStoreAway: {
    fires: ofAuction("gavel_gateway_breaker_state", "2x20", `dependency="redis"`),
    quiet: ofAuction("gavel_gateway_breaker_state", "0x8 2 0x8", `dependency="redis"`),
    at: "5m",
    labels: { ...AUCTION, dependency: "redis" },
  },
  GavelTokenKeysStale: {
    fires: ofAuction("gavel_gateway_token_keys_stale", "1x40", `tier="gateway"`),
    quiet: ofAuction("gavel_gateway_token_keys_stale", "0x8 1x4 0x28", `tier="gateway"`),
    at: "8m",
    labels: { ...AUCTION, tier: "gateway" },
  },
  GavelViewersTooSlow: {
    fires: closes("0+10x60"),
    quiet: closes("0x20 5x60"),
    at: "20m",
  },
  GavelEventLoopLate: {
    fires: ofAuction("nodejs_eventloop_lag_p99_seconds", "0.4x30", `tier="gateway",instance="a"`),
    quiet: ofAuction("nodejs_eventloop_lag_p99_seconds", "0.02x30", `tier="gateway",instance="a"`),
    at: "10m",
    labels: { ...AUCTION, tier: "gateway", instance: "a" },
  },
  GavelOperatorNoLeader: {
    fires: ofOperator("leader_election_master_status", "0x20"),
    quiet: {
      ...ofOperator("leader_election_master_status", "0x20", `instance="a"`),
      ...ofOperator("leader_election_master_status", "1x20", `instance="b"`),
    },
    at: "5m",
    labels: OPERATOR,
  },
  GavelReconcileErrors: {
    fires: ofOperator(
      "controller_runtime_reconcile_errors_total",
      "0+1x40",
      `controller="auction"`,
    ),
    quiet: ofOperator(
      "controller_runtime_reconcile_errors_total",
      "0x20 1x20",
      `controller="auction"`,
    ),
    at: "18m",
    labels: OPERATOR,
  },
  GavelOperatorMissedEvents: {
    fires: ofOperator("informer_missed_events_total", "0x10 1x20", `resource="auctions"`),
    quiet: ofOperator("informer_missed_events_total", "0x30", `resource="auctions"`),
    at: "10m",
    labels: OPERATOR,
  },
  GavelOperatorStuck: {
    fires: ofOperator("workqueue_longest_running_processor_seconds", "0+30x30", `name="auction"`),
    quiet: ofOperator(
      "workqueue_longest_running_processor_seconds",
      "0 30 0 30x27",
      `name="auction"`,
    ),
    at: "12m",
    labels: { ...OPERATOR, name: "auction" },
  },
};

/** promtool evaluates every rule at every step, so cases that last days use longer steps. */
type CaseFile = "alerts" | "slowly";
const STEPS: Readonly<Record<CaseFile, string>> = { alerts: "30s", slowly: "5m" };

const fileOf = ({ every }: Case): CaseFile => (every === "5m" ? "slowly" : "alerts");

/**
 * A file for `promtool test rules`: one test with the series of all cases, since each test evaluates all rules
 * anew. Each case has its own namespace, and an alert fires in the namespace of its firing case only.
 * @throws Error for an alert without cases
 */
export function casesText(caseFile: CaseFile): string {
  const interval = STEPS[caseFile];
  const cases = ALERTS.flatMap((alert) => {
    const found = CASES[alert.name];
    if (found === undefined) throw new Error(`${alert.name} has no cases`);
    return fileOf(found) === caseFile ? [{ alert, ...found }] : [];
  });
  const test = {
    name: "each alert fires in its own case and nowhere else",
    interval,
    input_series: cases.flatMap(({ alert, fires, quiet }) => [
      ...seriesIn(`${alert.name}-fires`, fires),
      ...seriesIn(`${alert.name}-quiet`, quiet),
    ]),
    alert_rule_test: cases.map(({ alert, at, labels = AUCTION }) => {
      const { labels: own, annotations } = alertingOf(alert);
      const exp_labels = { namespace: `${alert.name}-fires`, ...labels, ...own };
      const fired = { exp_labels, exp_annotations: annotations };
      return { eval_time: at, alertname: alert.name, exp_alerts: [fired] };
    }),
  };
  const file = { rule_files: ["alerts.yaml"], evaluation_interval: interval, tests: [test] };
  return `# Generated by \`make generate\` from dashboards/alert-cases.ts; run by promtool test rules.\n${stringify(file, { lineWidth: 0 })}`;
}

function seriesIn(namespace: string, series: Series) {
  return Object.entries(series).map(([text, values]) => {
    const [metric, matchers] = text.split(/[{}]/);
    const labels = [`namespace="${namespace}"`, matchers].filter(Boolean).join(",");
    return { series: `${metric}{${labels}}`, values };
  });
}
