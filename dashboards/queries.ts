/** Building blocks of the dashboards' PromQL. */

/** Matches the auctions selected above a dashboard. "All" also matches series without these labels. */
const SELECTED = `namespace=~"$namespace",auction=~"$auction"`;

/**
 * Replaces the variables of Grafana in an expression.
 * @param interval a duration of Prometheus, e.g. "20s"; `namespace` and `auction` are regular expressions
 */
export function withVariables(
  expression: string,
  { interval, namespace, auction }: Readonly<Record<"interval" | "namespace" | "auction", string>>,
): string {
  return expression
    .replaceAll("$__rate_interval", interval)
    .replaceAll("$namespace", namespace)
    .replaceAll("$auction", auction);
}

/** Matches the requests of the gateway that place a bid. */
export const BID = `method="POST",route="/v1/lots/:lotId/bids"`;

/** A metric of the selected auctions. @param matchers additional label matchers */
export function series(metric: string, matchers = ""): string {
  return `${metric}{${[matchers, SELECTED].filter(Boolean).join(",")}}`;
}

export const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;

function sumBy(labels: string, expression: string): string {
  return labels === "" ? `sum(${expression})` : `sum by (${labels}) (${expression})`;
}

export const perSecond = (metric: string, labels: string, matchers = ""): string =>
  sumBy(labels, rate(series(metric, matchers)));

/** A percentile of a histogram over all processes. @param labels by which it is grouped */
export function quantile(share: number, histogram: string, labels = "", matchers = ""): string {
  const by = labels === "" ? "le" : `le, ${labels}`;
  return `histogram_quantile(${share}, ${sumBy(by, rate(series(`${histogram}_bucket`, matchers)))})`;
}

/**
 * The highest value among the processes of a tier, for a gauge that describes the whole auction. Processes that
 * do not know the value export 0.
 */
export const highest = (metric: string, matchers = ""): string =>
  `max by (namespace, auction) (${series(metric, matchers)})`;
