/**
 * What is promised, as recording rules and alerts on how fast its error budget burns. Two windows each: the
 * long one says that it matters, the short one that it goes on.
 */
import type { Alert, Rule, RuleGroup } from "./rule.ts";

const BY = "namespace, auction";
const BID = `method="POST",route="/v1/lots/:lotId/bids"`;
const REQUESTS = "gavel_gateway_request_duration_seconds";
const MESSAGES = "gavel_broadcast_message_duration_seconds";

interface Objective {
  /** In the names of its rules. */
  readonly name: string;
  readonly alert: string;
  readonly promise: string;
  /** Share that may fail. */
  readonly budget: number;
  /** The share that failed within a window. */
  readonly failed: (window: string) => string;
  readonly look: string;
  readonly act: string;
}

/** `or` puts the series of both ways of bidding side by side: their labels differ. */
const both = (http: string, socket: string, window: string): string =>
  `sum by (${BY}) (rate(${http}[${window}]) or rate(${socket}[${window}]))`;

const LATE = "auction:gavel_archive_late:bool";

export const OBJECTIVES: readonly Objective[] = [
  {
    name: "gavel_bid_failures",
    alert: "GavelBidAvailability",
    promise:
      "99.95 % of bids are decided: accepted or rejected by the rules, and not answered 5xx.",
    budget: 0.0005,
    failed: (window) =>
      `${both(`${REQUESTS}_count{${BID},status=~"5.."}`, `${MESSAGES}_count{type="place_bid",outcome="failed"}`, window)}
/
${both(`${REQUESTS}_count{${BID}}`, `${MESSAGES}_count{type="place_bid"}`, window)}`,
    look: "Auction floor: “Nothing decided, by why”. `store` is a Redis that does not answer (Pipeline: “Breakers”), `busy` and `expired` more bids than Redis decides, `unconfirmed` and `regressed` a Redis that came back and is being compared, `full` an archive that does not keep up. Statuses 500 have a line in the gateway's log.",
    act: "For `store`: see that Redis runs and its disk has space; bids go on by themselves once it answers. For `busy`: more gateways do not help, one Redis decides; split the auction. For `full`: GavelOutboxNearLimit. For `unconfirmed` that stays: archival must reach Postgres and NATS to confirm Redis.",
  },
  {
    name: "gavel_bid_slow",
    alert: "GavelBidLatency",
    promise: "99 % of bids are answered within 50 ms.",
    budget: 0.01,
    failed: (window) =>
      `1 - ${both(`${REQUESTS}_bucket{${BID},le="0.05"}`, `${MESSAGES}_bucket{type="place_bid",le="0.05"}`, window)}
/
${both(`${REQUESTS}_count{${BID}}`, `${MESSAGES}_count{type="place_bid"}`, window)}`,
    look: "Latency: the first step whose p99 went up. 1 without 2 and 3 is the gateway itself (Tiers: event loop, CPU), 2 is too many bids for one lot, 3 is Redis or its disk (Pipeline: “Redis: scripts”).",
    act: "Gateway: give it CPU, or more replicas. Redis: a disk whose fsync is slow is the usual cause, another volume class the remedy; a core at its limit means that the auction is to be split.",
  },
  {
    name: "gavel_archive_late",
    alert: "GavelArchiveLate",
    promise: "99.9 % of the time every event is archived within 30 s.",
    budget: 0.001,
    failed: (window) => `avg_over_time(${LATE}[${window}])`,
    look: "Pipeline: “Lag”. Relay behind: NATS. Archive behind alone: Postgres. “Begun anew” and archival's log say why, “Breakers” who does not answer, “Lease holders” whether anybody relays.",
    act: "Bidding goes on meanwhile, until the outbox is full (“Outbox” shows how long that is). Bring back NATS or Postgres; archival catches up by itself. Do not delete the stream or the Redis volume: they hold what is not archived.",
  },
  {
    name: "gavel_delivery_late",
    alert: "GavelDelivery",
    promise: "99.9 % of events reach each broadcast process within 250 ms.",
    budget: 0.001,
    failed: (window) =>
      `1 - sum by (${BY}) (rate(gavel_broadcast_feed_lag_seconds_bucket{le="0.25"}[${window}]))
/
sum by (${BY}) (rate(gavel_broadcast_feed_lag_seconds_count[${window}]))`,
    look: "Latency: steps 4 and 5. Tiers: event loop and CPU of broadcast, viewers a process, “Frames” for conflation.",
    act: "More broadcast replicas: each holds fewer sockets. If only one process is late, restart it: its viewers resume elsewhere and miss nothing.",
  },
];

/** Of a budget for 30 days: in an hour 2 % of it, in six 5 %; in a day 10 %, in three days as much. */
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
  const { alert, promise, look, act } = objective;
  return [
    {
      name: alert,
      severity: "page" as const,
      expr: burns(objective, FAST),
      for: "0s",
      summary: `A promise is being broken fast: ${promise}`,
      means: `Promised: ${promise} At this rate the failures allowed for 30 days are used up within days.`,
      look,
      act,
    },
    {
      name: `${alert}Slowly`,
      severity: "ticket" as const,
      expr: burns(objective, SLOW),
      for: "0s",
      summary: `A promise is being broken slowly: ${promise}`,
      means: `Promised: ${promise} It is broken a little all the time: nobody need get up, but somebody must find out why.`,
      look,
      act,
    },
  ];
});
