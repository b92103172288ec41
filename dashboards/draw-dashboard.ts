/** A dashboard of all.ts as a picture, from what a Prometheus knows. */
import { queryRange, type Series } from "./ask-prometheus.ts";
import { DASHBOARDS, type Graph, graphsOf } from "./all.ts";
import { filledIn } from "./queries.ts";
import { type Line, type Panel, pictureOf, type Picture } from "./picture.ts";

/** Points across; a rate looks back over four. */
const POINTS = 240;
const STEP_MIN_SECONDS = 5;

export interface DrawOptions {
  /** Of Prometheus. */
  readonly url: string;
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** Regular expressions. */
  readonly auction: string;
  readonly namespace: string;
  /** Unix seconds, as the times above. */
  readonly marks: Picture["marks"];
}

/** @throws Error where Prometheus does not answer, or refuses an expression */
export async function drawDashboard(name: string, options: DrawOptions): Promise<string> {
  const { fromSeconds, toSeconds, marks } = options;
  const dashboard = DASHBOARDS[name]!;
  const panels: Panel[] = [];
  for (const { title, targets } of graphsOf(dashboard)) {
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
  { expr, legendFormat = "" }: Graph["targets"][number],
  { url, fromSeconds, toSeconds, auction, namespace }: DrawOptions,
): Promise<Line[]> {
  const step = Math.max(STEP_MIN_SECONDS, Math.ceil((toSeconds - fromSeconds) / POINTS));
  const query = filledIn(expr, { interval: `${4 * step}s`, namespace, auction });
  const series = await queryRange(url, query, fromSeconds, toSeconds, step);
  return series.map(({ metric, points }) => ({
    name: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ""),
    points: withGaps(points, step),
  }));
}

/** Prometheus leaves out what it does not know. */
function withGaps(points: Series["points"], step: number): Line["points"] {
  return points.flatMap(([seconds, value], i): [number, number | null][] => {
    const before = points[i - 1]?.[0] ?? seconds;
    const here: [number, number | null] = [seconds, Number.isNaN(value) ? null : value];
    return seconds - before > 1.5 * step ? [[seconds - step, null], here] : [here];
  });
}

const timeOf = (seconds: number): string => new Date(seconds * 1_000).toISOString().slice(11, 19);
