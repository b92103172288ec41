/** The effect of injected faults, beside the times at which they were injected. */
import { graph, annotation, newDashboard, row } from "./panel.ts";
import { BID, highest, series, perSecond, quantile } from "./queries.ts";

const a = (name: string) => `gavel_archival_${name}`;

/** A metric of Chaos Mesh; exists only where it is installed. */
const EXPERIMENTS = `sum by (namespace, kind) (chaos_controller_manager_chaos_experiments{phase="Running"})`;

const RESTARTED = `changes(${series("process_start_time_seconds", `tier=~"gateway|broadcast|archival"`)}[30s]) > 0`;

const BREAKERS = ["gateway", "broadcast", "archival"].map((tier) => {
  return series(`gavel_${tier}_breaker_state`);
});
const OPENED = `max by (tier, dependency) (${BREAKERS.join(" or ")}) == 2`;

export const chaos = newDashboard(
  "chaos",
  "Gavel / Chaos",
  "Faults are vertical lines: experiments of Chaos Mesh, restarted processes, opened circuit breakers. Beside them: what bidders and viewers notice, and what must hold.",
  "gavel_archival_lease_held",
)
  .annotation(annotation("experiment", `${EXPERIMENTS} > 0`, "{{kind}} in {{namespace}}", "red"))
  .annotation(annotation("restart", RESTARTED, "{{tier}} {{instance}}", "orange"))
  .annotation(annotation("breaker open", OPENED, "{{tier}} to {{dependency}}", "purple"))
  .withRow(row("What bidders notice"))
  .withPanel(
    graph(
      "Bids",
      "By outcome.",
      [[perSecond("gavel_gateway_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Response time of a bid",
      "Objective: p99 ≤ 50 ms.",
      [
        [quantile(0.5, "gavel_gateway_request_duration_seconds", "", BID), "p50"],
        [quantile(0.99, "gavel_gateway_request_duration_seconds", "", BID), "p99"],
      ],
      { unit: "s", limit: 0.05 },
    ),
  )
  .withPanel(
    graph(
      "Undecided bids by cause",
      "Answered with 503. The bidder sends the bid again.",
      [[perSecond("gavel_gateway_bids_unavailable_total", "why"), "{{why}}"]],
      { unit: "ops" },
    ),
  )
  .withRow(row("What viewers notice"))
  .withPanel(
    graph(
      "Feed",
      "From the event to its arrival at a broadcast process.",
      [[quantile(0.99, "gavel_broadcast_feed_lag_seconds"), "p99"]],
      { unit: "s" },
    ),
  )
  .withPanel(
    graph("Viewers", "Open sockets.", [[`sum(${series("gavel_broadcast_sockets")})`, "sockets"]]),
  )
  .withPanel(
    graph(
      "Resumes",
      "By result; snapshot: a viewer got the current state instead of the events that it missed.",
      [[perSecond("gavel_broadcast_resumes_total", "result"), "{{result}}"]],
    ),
  )
  .withRow(row("What must hold"))
  .withPanel(
    graph("Violations", "Must be 0 whatever fault is injected.", [
      [`sum(${series(a("regressions_total"))})`, "sequence regressions"],
      [`sum(${series(a("losses_total"))})`, "losses"],
      [`sum(${series(a("conflicts_total"))})`, "archive conflicts"],
      [`sum(${series("gavel_audit_violations_total")})`, "invariant violations"],
    ]),
  )
  .withPanel(
    graph("Leading amounts", "The sum never decreases.", [
      [highest(a("leading_amounts_minor")), "{{auction}}"],
    ]),
  )
  .withPanel(
    graph(
      "Lag",
      "May grow while a store is down; must fall again afterwards.",
      [
        [highest(a("relay_lag_seconds")), "relay {{auction}}"],
        [highest(a("archive_lag_seconds")), "archive {{auction}}"],
      ],
      { unit: "s", limit: 30 },
    ),
  )
  .withRow(row("Faults"))
  .withPanel(
    graph("Experiments", "Running experiments of Chaos Mesh. Empty where it is not installed.", [
      [EXPERIMENTS, "{{kind}} in {{namespace}}"],
    ]),
  )
  .withPanel(
    graph("Circuit breakers", "0 closed, 1 half-open (one probe call), 2 open.", [
      [`max by (dependency) (${series(a("breaker_state"))})`, "archival to {{dependency}}"],
      [
        `max by (dependency) (${series("gavel_gateway_breaker_state")})`,
        "gateway to {{dependency}}",
      ],
    ]),
  )
  .withPanel(
    graph("Recoveries", "Restores of Redis, and restarts of the pipeline (relay and archive).", [
      [`sum(${series(a("restores_total"))})`, "restores"],
      [`sum(${series(a("pair_restarts_total"))})`, "pipeline restarts"],
    ]),
  );
