/** What a fault does, beside when it was injected. */
import { graph, mark, page, row } from "./panel.ts";
import { BID, highest, of, perSecond, quantile } from "./queries.ts";

const a = (name: string) => `gavel_archival_${name}`;

/** Chaos Mesh's own metric; there only where it runs. */
export const EXPERIMENTS = `sum by (namespace, kind) (chaos_controller_manager_chaos_experiments{phase="Running"})`;

const RESTARTED = `changes(${of("process_start_time_seconds", `tier=~"gateway|broadcast|archival"`)}[30s]) > 0`;

const BREAKERS = ["gateway", "broadcast", "archival"].map((tier) => {
  return of(`gavel_${tier}_breaker_state`);
});
const OPENED = `max by (tier, dependency) (${BREAKERS.join(" or ")}) == 2`;

export const chaos = page(
  "chaos",
  "Gavel / Chaos",
  "Injected faults as vertical lines (experiments of Chaos Mesh, processes that started anew, breakers that opened), and whether anything but the latency notices.",
  "gavel_archival_lease_held",
)
  .annotation(mark("experiment", `${EXPERIMENTS} > 0`, "{{kind}} in {{namespace}}", "red"))
  .annotation(mark("restart", RESTARTED, "{{tier}} {{instance}}", "orange"))
  .annotation(mark("breaker open", OPENED, "{{tier}} leaves {{dependency}} alone", "purple"))
  .withRow(row("What bidders notice"))
  .withPanel(
    graph(
      "Bids",
      "By what became of them.",
      [[perSecond("gavel_gateway_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Answer to a bid",
      "Promised: p99 ≤ 50 ms.",
      [
        [quantile(0.5, "gavel_gateway_request_duration_seconds", "", BID), "p50"],
        [quantile(0.99, "gavel_gateway_request_duration_seconds", "", BID), "p99"],
      ],
      { unit: "s", limit: 0.05 },
    ),
  )
  .withPanel(
    graph(
      "Nothing decided, by why",
      "Answered 503, to be sent again.",
      [[perSecond("gavel_gateway_bids_unavailable_total", "why"), "{{why}}"]],
      { unit: "ops" },
    ),
  )
  .withRow(row("What viewers notice"))
  .withPanel(
    graph(
      "Feed",
      "From an event to its arrival at broadcast.",
      [[quantile(0.99, "gavel_broadcast_feed_lag_seconds"), "p99"]],
      { unit: "s" },
    ),
  )
  .withPanel(graph("Viewers", "Sockets.", [[`sum(${of("gavel_broadcast_sockets")})`, "sockets"]]))
  .withPanel(
    graph("Resumes", "snapshot: not every missed event could be sent.", [
      [perSecond("gavel_broadcast_resumes_total", "result"), "{{result}}"],
    ]),
  )
  .withRow(row("What must hold"))
  .withPanel(
    graph("Never", "0, whatever was done.", [
      [`sum(${of(a("regressions_total"))})`, "sequence regressions"],
      [`sum(${of(a("losses_total"))})`, "losses"],
      [`sum(${of(a("conflicts_total"))})`, "archive conflicts"],
      [`sum(${of("gavel_audit_violations_total")})`, "audit violations"],
    ]),
  )
  .withPanel(
    graph("Leading amounts", "The sum never goes down.", [
      [highest(a("leading_amounts_minor")), "{{auction}}"],
    ]),
  )
  .withPanel(
    graph(
      "Lag",
      "It may grow while a store is away, and goes back after.",
      [
        [highest(a("relay_lag_seconds")), "relay {{auction}}"],
        [highest(a("archive_lag_seconds")), "archive {{auction}}"],
      ],
      { unit: "s", limit: 30 },
    ),
  )
  .withRow(row("The faults"))
  .withPanel(
    graph("Experiments", "Of Chaos Mesh, running. Empty where it is not installed.", [
      [EXPERIMENTS, "{{kind}} in {{namespace}}"],
    ]),
  )
  .withPanel(
    graph("Breakers", "0 closed, 1 one call looks, 2 left alone.", [
      [`max by (dependency) (${of(a("breaker_state"))})`, "{{dependency}}, asked by archival"],
      [
        `max by (dependency) (${of("gavel_gateway_breaker_state")})`,
        "{{dependency}}, asked by gateway",
      ],
    ]),
  )
  .withPanel(
    graph("Put back", "Stores restored, and pairs of relay and archive begun anew.", [
      [`sum(${of(a("restores_total"))})`, "restores"],
      [`sum(${of(a("pair_restarts_total"))})`, "pairs begun anew"],
    ]),
  );
