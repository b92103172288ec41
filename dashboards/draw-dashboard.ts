/** Draws a dashboard as an SVG picture from the data of a Prometheus server. */
import { queryRange, type Series } from "./prometheus-api.ts";
import { DASHBOARDS, panelsOf, type QueryPanel } from "./dashboards.ts";
import { withVariables } from "./queries.ts";
import { type Line, type Panel, pictureOf, type Picture } from "./picture.ts";

/** Points across the picture. A rate covers four of them. */
const POINTS = 240;
const STEP_MIN_SECONDS = 5;

interface DrawOptions {
  /** URL of Prometheus. */
  readonly url: string;
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** Regular expression, as is `namespace`. */
  readonly auction: string;
  readonly namespace: string;
  /** In Unix seconds. */
  readonly marks: Picture["marks"];
}

/** @throws Error when Prometheus does not answer or rejects an expression */
export async function drawDashboard(name: string, options: DrawOptions): Promise<string> {
  const { fromSeconds, toSeconds, marks } = options;
  const dashboard = DASHBOARDS[name]!;
  const panels: Panel[] = [];
  for (const { title, targets } of panelsOf(dashboard)) {
    const lines = await Promise.all(targets.map((target) => linesOf(target, options)));
    panels.push({ title, lines: lines.flat() });
  }
  return pictureOf({
    title: dashboard.title ?? name,
    panels,
    columns: 2,
    span: [fromSeconds, toSeconds],
    marks,
    note: `${timeOf(fromSeconds)} to ${timeOf(toSeconds)} UTC`,
  });
}

async function linesOf(
  { expr, legendFormat = "" }: QueryPanel["targets"][number],
  { url, fromSeconds, toSeconds, auction, namespace }: DrawOptions,
): Promise<Line[]> {
  const step = Math.max(STEP_MIN_SECONDS, Math.ceil((toSeconds - fromSeconds) / POINTS));
  const query = withVariables(expr, { interval: `${4 * step}s`, namespace, auction });
  const series = await queryRange(url, query, fromSeconds, toSeconds, step);
  return series.map(({ metric, points }) => ({
    name: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ""),
    points: withGaps(points, step),
  }));
}

/** Prometheus omits points without a value. The line must have a gap there. */
function withGaps(points: Series["points"], step: number): Line["points"] {
  return points.flatMap(([seconds, value], i): [number, number | null][] => {
    const before = points[i - 1]?.[0] ?? seconds;
    const here: [number, number | null] = [seconds, Number.isNaN(value) ? null : value];
    return seconds - before > 1.5 * step ? [[seconds - step, null], here] : [here];
  });
}

const timeOf = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(11, 19);
