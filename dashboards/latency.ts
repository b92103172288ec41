/** A bid's way, step by step: which of them is slow. */
import { graph, type Line, page, row } from "./panel.ts";
import { BID, quantile } from "./queries.ts";

interface Step {
  readonly title: string;
  readonly about: string;
  readonly histogram: string;
  readonly and?: string;
}

/** In the order in which a bid takes them. */
export const STEPS: readonly Step[] = [
  {
    title: "1 HTTP answer",
    about: "From the request's headers to the end of the answer: what the bidder waits for.",
    histogram: "gavel_gateway_request_duration_seconds",
    and: BID,
  },
  {
    title: "2 Wait for the batch",
    about: "The first bid of each batch, until its call to Redis goes out.",
    histogram: "gavel_gateway_batch_wait_seconds",
  },
  {
    title: "3 Decision in Redis",
    about: "One call: the script, and the write to disk before its answer.",
    histogram: "gavel_gateway_store_call_duration_seconds",
  },
  {
    title: "4 Feed",
    about: "From the event to its arrival at a broadcast process.",
    histogram: "gavel_broadcast_feed_lag_seconds",
  },
  {
    title: "5 Fan-out",
    about: "Until it is written to every socket that watches the lot.",
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

const percentilesOf = (histogram: string, and?: string): Line[] =>
  PERCENTILES.map(([share, name]) => [quantile(share, histogram, "", and), name]);

export const latency = page(
  "latency",
  "Gavel / Latency",
  "p50, p95 and p99 of each step of a bid's way, in their order. Promised: p99 of the first ≤ 50 ms.",
  "gavel_gateway_store_up",
)
  .withRow(row("All steps"))
  .withPanel(
    graph(
      "p99 of each step",
      "Whichever line goes up first is where to look.",
      STEPS.map(({ title, histogram, and }): Line => [quantile(0.99, histogram, "", and), title]),
      { unit: "s", width: 24 },
    ),
  )
  .withRow(row("The bidder waits"));

for (const { title, about, histogram, and } of STEPS.slice(0, 3)) {
  const limit = histogram.includes("request") ? { limit: 0.05 } : {};
  latency.withPanel(graph(title, about, percentilesOf(histogram, and), { unit: "s", ...limit }));
}
latency.withRow(row("The viewers wait"));
for (const { title, about, histogram, and } of STEPS.slice(3, 5)) {
  latency.withPanel(graph(title, about, percentilesOf(histogram, and), { unit: "s" }));
}
latency
  .withPanel(
    graph(
      "Messages of viewers, p99",
      "From a message's arrival to its last answer, by type.",
      [[quantile(0.99, "gavel_broadcast_message_duration_seconds", "type"), "{{type}}"]],
      { unit: "s" },
    ),
  )
  .withRow(row("Nobody waits"));
for (const { title, about, histogram, and } of STEPS.slice(5)) {
  latency.withPanel(graph(title, about, percentilesOf(histogram, and), { unit: "s" }));
}
latency
  .withPanel(
    graph(
      "JetStream and Postgres themselves",
      "One publish, and one batch's transaction.",
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
