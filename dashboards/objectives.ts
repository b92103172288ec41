/**
 * The service-level objectives, as recording rules and as alerts on the burn rate of their error budgets. Each
 * alert needs two windows: the long one shows that it matters, the short one that it still happens.
 */
import type { Alert, Rule, RuleGroup } from "./rule.ts";

const BY = "namespace, auction";
const BID = `method="POST",route="/v1/lots/:lotId/bids"`;
const REQUESTS = "gavel_gateway_request_duration_seconds";
const MESSAGES = "gavel_broadcast_message_duration_seconds";

interface Objective {
  /** Part of the names of its recording rules. */
  readonly name: string;
  readonly alert: string;
  readonly objective: string;
  /** The share that may fail. */
  readonly budget: number;
  /** PromQL: the share that failed within a window. */
  readonly failed: (window: string) => string;
  readonly impact: string;
  readonly check: string;
  readonly act: string;
}

/** Bids over HTTP and over WebSockets. `or` unites their series: the labels differ. */
const both = (http: string, socket: string, window: string): string =>
  `sum by (${BY}) (rate(${http}[${window}]) or rate(${socket}[${window}]))`;

const LATE = "auction:gavel_archive_late:bool";

const OBJECTIVES: readonly Objective[] = [
  {
    name: "gavel_bid_failures",
    alert: "GavelBidAvailability",
    objective:
      "99.95 % of bids are decided: accepted or rejected by the rules, and not answered 5xx.",
    budget: 0.0005,
    failed: (window) =>
      `${both(`${REQUESTS}_count{${BID},status=~"5.."}`, `${MESSAGES}_count{type="place_bid",outcome="failed"}`, window)}
/
${both(`${REQUESTS}_count{${BID}}`, `${MESSAGES}_count{type="place_bid"}`, window)}`,
    impact: "These bidders got 5xx instead of a decision and have to send their bids again.",
    check:
      "Panel “Undecided bids by cause” (Auction floor). `store`: Redis does not answer (“Circuit breakers”, Pipeline). `busy` and `expired`: more bids arrive than Redis decides. `unconfirmed` and `regressed`: Redis restarted, and archival is comparing it with the archive. `full`: the outbox is full. Each answer with status 500 has an error in `logs gateway`.",
    act: "`store`: make sure that Redis runs and its disk has space; bidding resumes by itself. `busy`: split the auction, since one Redis decides all bids and more gateways do not help. `full`: see GavelOutboxNearLimit. `unconfirmed` for more than a minute: bring back Postgres and NATS, which archival needs to confirm Redis.",
  },
  {
    name: "gavel_bid_slow",
    alert: "GavelBidLatency",
    objective: "99 % of bids are answered within 50 ms.",
    budget: 0.01,
    failed: (window) =>
      `1 - ${both(`${REQUESTS}_bucket{${BID},le="0.05"}`, `${MESSAGES}_bucket{type="place_bid",le="0.05"}`, window)}
/
${both(`${REQUESTS}_count{${BID}}`, `${MESSAGES}_count{type="place_bid"}`, window)}`,
    impact: "Bidders wait more than 50 ms for an answer. Every bid is still decided correctly.",
    check:
      "Dashboard Latency: find the first step whose p99 rose. Only step 1: the gateway itself (“Event loop, p99” and “CPU”, Tiers). Step 2: too many bids on one lot. Step 3: Redis or its disk (“Redis: scripts”, Pipeline).",
    act: "Gateway: give it more CPU or more replicas. Redis: slow fsync is the usual cause, so move it to a faster volume class. If Redis uses a whole core, split the auction.",
  },
  {
    name: "gavel_archive_late",
    alert: "GavelArchiveLate",
    objective: "99.9 % of the time every event is archived within 30 s.",
    budget: 0.001,
    failed: (window) => `avg_over_time(${LATE}[${window}])`,
    impact: "None until the outbox is full. Then every bid is refused with 503.",
    check:
      "Panel “Lag” (Pipeline). The relay lags: NATS is slow or down. Only the archive lags: Postgres is. “Pipeline restarts” and `logs archival` show the cause, “Circuit breakers” the store that does not answer, “Lease holders” whether any process relays.",
    act: "Bring back NATS or Postgres. Archival catches up by itself. Panel “Outbox” shows how much space is left. Do not delete the stream or the volume of Redis: they hold the events that are not archived yet.",
  },
  {
    name: "gavel_delivery_late",
    alert: "GavelDelivery",
    objective: "99.9 % of events reach each broadcast process within 250 ms.",
    budget: 0.001,
    failed: (window) =>
      `1 - sum by (${BY}) (rate(gavel_broadcast_feed_lag_seconds_bucket{le="0.25"}[${window}]))
/
sum by (${BY}) (rate(gavel_broadcast_feed_lag_seconds_count[${window}]))`,
    impact: "Viewers see bids more than 250 ms late.",
    check:
      "Steps 4 and 5 (Latency). “Event loop, p99”, “CPU”, “Connections” and “Frames” (conflated) of broadcast (Tiers).",
    act: "Add broadcast replicas, so that each serves fewer sockets. If only one process is late, delete its pod: its viewers resume at another one and miss nothing.",
  },
];

/** Factors of the burn rate for a budget of 30 days: 2 % of it in 1 h, 5 % in 6 h, 10 % in 1 d or 3 d. */
const FAST = [
  { factor: 14.4, long: "1h", short: "5m" },
  { factor: 6, long: "6h", short: "30m" },
];
const SLOW = [
  { factor: 3, long: "1d", short: "2h" },
  { factor: 1, long: "3d", short: "6h" },
];
const WINDOWS = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

const recordOf = ({ name }: Objective, window: string): string =>
  `auction:${name}:ratio_rate${window}`;

export const RECORDINGS: RuleGroup = {
  name: "gavel-objectives",
  rules: [
    {
      record: LATE,
      expr: `max by (${BY}) (gavel_archival_archive_lag_seconds) > bool 30`,
    },
    ...OBJECTIVES.flatMap((objective) =>
      WINDOWS.map((window): Rule => {
        return { record: recordOf(objective, window), expr: objective.failed(window) };
      }),
    ),
  ],
};

const burns = (objective: Objective, windows: typeof FAST): string =>
  windows
    .map(({ factor, long, short }) => {
      const limit = Number((factor * objective.budget).toPrecision(6));
      return `(${recordOf(objective, long)} > ${limit} and ${recordOf(objective, short)} > ${limit})`;
    })
    .join("\nor\n");

export const OBJECTIVE_ALERTS: readonly Alert[] = OBJECTIVES.flatMap((objective) => {
  const { alert, objective: promised, impact, check, act } = objective;
  return [
    {
      name: alert,
      severity: "page" as const,
      expr: burns(objective, FAST),
      for: "0s",
      summary: `Objective missed, error budget burns fast: ${promised}`,
      means: `Objective: ${promised} At the present rate the error budget of 30 days is used up within days.`,
      impact,
      check,
      act,
    },
    {
      name: `${alert}Slowly`,
      severity: "ticket" as const,
      expr: burns(objective, SLOW),
      for: "0s",
      summary: `Objective missed, error budget burns slowly: ${promised}`,
      means: `Objective: ${promised} A small share fails all the time. Find the cause during the day.`,
      impact,
      check,
      act,
    },
  ];
});
