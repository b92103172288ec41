/** For the auctioneer: bids, leading amounts, viewers. */
import { stat, graph, newDashboard, row } from "./panel.ts";
import { highest, series, perSecond, quantile, rate } from "./queries.ts";

const NOT_REJECTED = `outcome!~"accepted|unavailable|unknown"`;

export const auctionFloor = newDashboard(
  "auction-floor",
  "Gavel / Auction floor",
  "Bids, leading amounts and viewers of the running auctions.",
  "gavel_archival_lease_held",
)
  .withRow(row("Now"))
  .withPanel(
    stat("Open lots", "Lots that accept bids.", [
      `sum(${highest("gavel_archival_lots", `status="open"`)})`,
      "open",
    ]),
  )
  .withPanel(
    stat(
      "Leading amounts",
      "Sum of the leading bids of all lots, in minor units. It never decreases.",
      [`sum(${highest("gavel_archival_leading_amounts_minor")})`, "minor units"],
    ),
  )
  .withPanel(
    stat("Accepted bids", "Since the start of the auction.", [
      `sum(${highest("gavel_archival_accepted_bids")})`,
      "bids",
    ]),
  )
  .withPanel(
    stat("Viewers", "Open sockets.", [`sum(${series("gavel_broadcast_sockets")})`, "viewers"]),
  )
  .withPanel(
    stat(
      "Bids per second",
      "Decided and undecided bids.",
      [
        `${perSecond("gavel_gateway_bids_total", "")} + ${perSecond("gavel_broadcast_bids_total", "")}`,
        "bids/s",
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    stat(
      "Undecided bids",
      "Share of the bids that got no decision because of a fault in Gavel.",
      [
        `sum(${rate(series("gavel_gateway_bids_total", `outcome=~"unavailable|unknown"`))}) / sum(${rate(series("gavel_gateway_bids_total"))})`,
        "share",
      ],
      { unit: "percentunit", limit: 0.0005 },
    ),
  )
  .withRow(row("Bids"))
  .withPanel(
    graph(
      "Bids over HTTP",
      "By outcome.",
      [[perSecond("gavel_gateway_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Bids over sockets",
      "By outcome.",
      [[perSecond("gavel_broadcast_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Rejected bids by reason",
      "Bids that the rules do not allow. Many too_low are normal on a busy lot.",
      [
        [perSecond("gavel_gateway_bids_total", "outcome", NOT_REJECTED), "{{outcome}} (HTTP)"],
        [perSecond("gavel_broadcast_bids_total", "outcome", NOT_REJECTED), "{{outcome}} (socket)"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Undecided bids by cause",
      "Answered with 503. store, busy and expired pass by themselves. For regressed, unconfirmed and full see dashboard Pipeline.",
      [
        [perSecond("gavel_gateway_bids_unavailable_total", "why"), "{{why}} (HTTP)"],
        [perSecond("gavel_broadcast_bids_unavailable_total", "why"), "{{why}} (socket)"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph("Leading amounts", "Sum over all lots of an auction, in minor units.", [
      [highest("gavel_archival_leading_amounts_minor"), "{{auction}}"],
    ]),
  )
  .withPanel(
    graph("Lots", "By status.", [
      [`max by (namespace, auction, status) (${series("gavel_archival_lots")})`, "{{status}}"],
    ]),
  )
  .withRow(row("Viewers and the lot clock"))
  .withPanel(
    graph(
      "Viewers",
      "Open sockets; behind: sockets with so many unread bytes that they get snapshots instead of events.",
      [
        [`sum(${series("gavel_broadcast_sockets")})`, "sockets"],
        [`sum(${series("gavel_broadcast_behind")})`, "behind"],
        [`sum(${series("gavel_broadcast_subscriptions")})`, "subscriptions"],
      ],
    ),
  )
  .withPanel(
    graph(
      "Delay of opening and closing",
      "By the clock of Redis. A late close is harmless to bidders: the script rejects bids after the closing time.",
      [
        [quantile(0.5, "gavel_gateway_clock_lateness_seconds", "change"), "{{change}} p50"],
        [quantile(0.99, "gavel_gateway_clock_lateness_seconds", "change"), "{{change}} p99"],
      ],
      { unit: "s", limit: 1 },
    ),
  )
  .withPanel(
    graph(
      "Overdue",
      "How long ago the next lot should have been opened or closed. High: no gateway runs the lot clock.",
      [[highest("gavel_archival_clock_overdue_seconds"), "{{auction}}"]],
      { unit: "s", limit: 2 },
    ),
  );
