/** The PromQL that dashboards are made of. */

/** Of what is chosen above a dashboard. Where there is one machine and no such label, "All" fits it. */
export const CHOSEN = `namespace=~"$namespace",auction=~"$auction"`;

/** An expression with what Grafana fills in. @param interval Prometheus's, e.g. "20s". @param auction regular expression, as is namespace */
export function filledIn(
  expression: string,
  { interval, namespace, auction }: Readonly<Record<"interval" | "namespace" | "auction", string>>,
): string {
  return expression
    .replaceAll("$__rate_interval", interval)
    .replaceAll("$namespace", namespace)
    .replaceAll("$auction", auction);
}

/** The route of a bid, as the gateway's metrics name it. */
export const BID = `method="POST",route="/v1/lots/:lotId/bids"`;

/** A metric of the auctions that are chosen. @param and more matchers */
export function of(metric: string, and = ""): string {
  return `${metric}{${[and, CHOSEN].filter(Boolean).join(",")}}`;
}

export const rate = (series: string): string => `rate(${series}[$__rate_interval])`;

export function sumBy(labels: string, expression: string): string {
  return labels === "" ? `sum(${expression})` : `sum by (${labels}) (${expression})`;
}

export const perSecond = (metric: string, labels: string, and = ""): string =>
  sumBy(labels, rate(of(metric, and)));

/** A percentile of a histogram over all processes. @param labels what it is told apart by */
export function quantile(share: number, histogram: string, labels = "", and = ""): string {
  const by = labels === "" ? "le" : `le, ${labels}`;
  return `histogram_quantile(${share}, ${sumBy(by, rate(of(`${histogram}_bucket`, and)))})`;
}

/**
 * Of a gauge that each process of a tier shows of the auction as a whole: the highest counts, and where
 * only one of them knows, the others show 0.
 */
export const highest = (metric: string, and = ""): string =>
  `max by (namespace, auction) (${of(metric, and)})`;
