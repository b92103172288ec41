/** The metrics that an expression uses, and the metrics that our processes export. */
import { commonMetrics, metricsOf, PROCESSES } from "./metrics-reference.ts";

/** Metrics of other systems, which exist only where those run. */
export const FOREIGN = ["chaos_controller_manager_chaos_experiments"];

const KEYWORDS = new Set(
  "sum max min by on and or unless bool rate increase changes time avg_over_time histogram_quantile".split(
    " ",
  ),
);

/** The names of metrics in an expression, without recording rules (whose names contain colons). */
export function metricsIn(expression: string): string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '""')
    .replaceAll(/\{[^}]*\}/g, "")
    .replaceAll(/\[[^\]]*\]/g, "")
    .replaceAll(/\b(by|on) \([^)]*\)/g, "");
  const names = bare.match(/[a-zA-Z_:][a-zA-Z0-9_:]*/g) ?? [];
  return [...new Set(names.filter((name) => !KEYWORDS.has(name) && !name.includes(":")))];
}

/** Every series that our processes export. */
export function knownSeries(): Set<string> {
  const all = [...commonMetrics(), ...Object.keys(PROCESSES).flatMap(metricsOf)];
  return new Set(
    all.flatMap(({ name, type }) =>
      type === "histogram" || type === "summary"
        ? ["_bucket", "_sum", "_count", ""].map((part) => name + part)
        : [name],
    ),
  );
}
