/** The latency of each step between a bid and its archived event. */
import { graph, type Line, newDashboard, row } from "./panel.ts";
import { BID, quantile } from "./queries.ts";

interface Step {
  readonly title: string;
  readonly about: string;
  readonly histogram: string;
  readonly matchers?: string;
}

/** In the order in which they happen. */
const STEPS: readonly Step[] = [
  {
    title: "1 HTTP response",
    about: "From the headers of the request to the end of the response: how long the bidder waits.",
    histogram: "gavel_gateway_request_duration_seconds",
    matchers: BID,
  },
  {
    title: "2 Wait for a batch",
    about: "From the first bid of a batch until the batch is sent to Redis.",
    histogram: "gavel_gateway_batch_wait_seconds",
  },
  {
    title: "3 Decision in Redis",
    about: "One script call, including the write to disk before its reply.",
    histogram: "gavel_gateway_store_call_duration_seconds",
  },
  {
    title: "4 Feed",
    about: "From the event to its arrival at a broadcast process.",
    histogram: "gavel_broadcast_feed_lag_seconds",
  },
  {
    title: "5 Fan-out",
    about: "Until the event is written to every socket that is subscribed to the lot.",
    histogram: "gavel_broadcast_fan_out_duration_seconds",
  },
  {
    title: "6 Relay",
    about: "From the event until JetStream has it on disk.",
    histogram: "gavel_archival_relay_delay_seconds",
  },
  {
    title: "7 Archive",
    about: "From the event until Postgres has committed it.",
    histogram: "gavel_archival_archive_delay_seconds",
  },
];

const PERCENTILES = [
  [0.5, "p50"],
  [0.95, "p95"],
  [0.99, "p99"],
] as const;

const percentilesOf = (histogram: string, matchers?: string): Line[] =>
  PERCENTILES.map(([share, name]) => [quantile(share, histogram, "", matchers), name]);

export const latency = newDashboard(
  "latency",
  "Gavel / Latency",
  "p50, p95 and p99 of each step between a bid and its archived event. Objective: p99 of step 1 ≤ 50 ms.",
  "gavel_gateway_store_up",
)
  .withRow(row("All steps"))
  .withPanel(
    graph(
      "p99 of each step",
      "The slow step is the first one whose line rises.",
      STEPS.map(({ title, histogram, matchers }): Line => [
        quantile(0.99, histogram, "", matchers),
        title,
      ]),
      { unit: "s", width: 24 },
    ),
  )
  .withRow(row("The bidder waits for these"));

for (const { title, about, histogram, matchers } of STEPS.slice(0, 3)) {
  const limit = histogram.includes("request") ? { limit: 0.05 } : {};
  latency.withPanel(
    graph(title, about, percentilesOf(histogram, matchers), { unit: "s", ...limit }),
  );
}
latency.withRow(row("The viewers wait for these"));
for (const { title, about, histogram, matchers } of STEPS.slice(3, 5)) {
  latency.withPanel(graph(title, about, percentilesOf(histogram, matchers), { unit: "s" }));
}
latency
  .withPanel(
    graph(
      "Messages of viewers, p99",
      "From the arrival of a message to its last reply, by type.",
      [[quantile(0.99, "gavel_broadcast_message_duration_seconds", "type"), "{{type}}"]],
      { unit: "s" },
    ),
  )
  .withRow(row("In the background"));
for (const { title, about, histogram, matchers } of STEPS.slice(5)) {
  latency.withPanel(graph(title, about, percentilesOf(histogram, matchers), { unit: "s" }));
}
latency
  .withPanel(
    graph(
      "JetStream and Postgres alone",
      "One publish, and the transaction of one batch.",
      [
        ...PERCENTILES.map(([share, name]): Line => {
          return [quantile(share, "gavel_archival_publish_duration_seconds"), `publish ${name}`];
        }),
        ...PERCENTILES.map(([share, name]): Line => {
          return [quantile(share, "gavel_archival_batch_seconds"), `transaction ${name}`];
        }),
      ],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph(
      "Other requests, p99",
      "By route.",
      [[quantile(0.99, "gavel_gateway_request_duration_seconds", "route"), "{{route}}"]],
      { unit: "s", width: 24 },
    ),
  );
