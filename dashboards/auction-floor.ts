/** What an auctioneer looks at: bids, what leads, who watches. */
import { figure, graph, page, row } from "./panel.ts";
import { highest, of, perSecond, quantile, rate } from "./queries.ts";

const NOT_REJECTED = `outcome!~"accepted|unavailable|unknown"`;

export const auctionFloor = page(
  "auction-floor",
  "Gavel / Auction floor",
  "Bids, leading amounts and viewers of the auctions that run.",
  "gavel_archival_lease_held",
)
  .withRow(row("Now"))
  .withPanel(
    figure("Open lots", "Lots that take bids.", [
      `sum(${highest("gavel_archival_lots", `status="open"`)})`,
      "open",
    ]),
  )
  .withPanel(
    figure(
      "Leading amounts",
      "Sum of the leading bids of all lots, in minor units: it never goes down.",
      [`sum(${highest("gavel_archival_leading_amounts_minor")})`, "minor units"],
    ),
  )
  .withPanel(
    figure("Accepted bids", "Since the auction began.", [
      `sum(${highest("gavel_archival_accepted_bids")})`,
      "bids",
    ]),
  )
  .withPanel(
    figure("Viewers", "Sockets held.", [`sum(${of("gavel_broadcast_sockets")})`, "viewers"]),
  )
  .withPanel(
    figure(
      "Bids a second",
      "All that were decided or refused.",
      [
        `${perSecond("gavel_gateway_bids_total", "")} + ${perSecond("gavel_broadcast_bids_total", "")}`,
        "bids/s",
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    figure(
      "Not decided",
      "Share of the bids that got no decision: our fault.",
      [
        `sum(${rate(of("gavel_gateway_bids_total", `outcome=~"unavailable|unknown"`))}) / sum(${rate(of("gavel_gateway_bids_total"))})`,
        "share",
      ],
      { unit: "percentunit", limit: 0.0005 },
    ),
  )
  .withRow(row("Bids"))
  .withPanel(
    graph(
      "Bids over HTTP",
      "By what became of them.",
      [[perSecond("gavel_gateway_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Bids over sockets",
      "By what became of them.",
      [[perSecond("gavel_broadcast_bids_total", "outcome"), "{{outcome}}"]],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Rejected, by reason",
      "The rules said no. too_low is what a lively lot looks like.",
      [
        [perSecond("gavel_gateway_bids_total", "outcome", NOT_REJECTED), "{{outcome}} (HTTP)"],
        [perSecond("gavel_broadcast_bids_total", "outcome", NOT_REJECTED), "{{outcome}} (socket)"],
      ],
      { unit: "ops" },
    ),
  )
  .withPanel(
    graph(
      "Nothing decided, by why",
      "Answered 503: store, busy and expired pass by themselves; regressed, unconfirmed and full are for the pipeline's page.",
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
      [`max by (namespace, auction, status) (${of("gavel_archival_lots")})`, "{{status}}"],
    ]),
  )
  .withRow(row("Viewers and the clock"))
  .withPanel(
    graph("Viewers", "Sockets, and those that have too much unread to be sent events.", [
      [`sum(${of("gavel_broadcast_sockets")})`, "sockets"],
      [`sum(${of("gavel_broadcast_behind")})`, "behind"],
      [`sum(${of("gavel_broadcast_subscriptions")})`, "lots watched"],
    ]),
  )
  .withPanel(
    graph(
      "How late lots open and close",
      "By Redis's clock. A late close costs no bidder anything: late bids are refused by the script.",
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
      "How long the next lot to be opened or closed has been due; high means that no gateway's clock runs.",
      [[highest("gavel_archival_clock_overdue_seconds"), "{{auction}}"]],
      { unit: "s", limit: 2 },
    ),
  );
