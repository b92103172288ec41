/** The house style of dashboards: what every panel and every page has in common. */
import {
  AnnotationQueryBuilder,
  DashboardBuilder,
  DashboardCursorSync,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { LegendDisplayMode, VizLegendOptionsBuilder } from "@grafana/grafana-foundation-sdk/common";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as TimeSeriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

export const SOURCE = { type: "prometheus", uid: "${source}" } as const;

/** Of 24 that are across. */
const THIRD = 8;
const HEIGHT = 8;

/** What a line shows: a query, and how each of its series is called. */
export type Line = readonly [expression: string, legend: string];

export interface PanelOptions {
  /** Of Grafana: "s", "bytes", "short", "percentunit" … */
  readonly unit?: string;
  /** One of what is looked at is too much from here on. */
  readonly limit?: number;
  /** Columns of 24. */
  readonly width?: number;
  readonly max?: number;
}

function targetsOf(lines: readonly Line[]): DataqueryBuilder[] {
  return lines.map(([expression, legend], i) =>
    new DataqueryBuilder()
      .datasource(SOURCE)
      .expr(expression)
      .legendFormat(legend)
      .refId(String.fromCharCode(65 + i))
      .range(),
  );
}

function thresholdsOf(limit: number): ThresholdsConfigBuilder {
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps([
    { value: null, color: "green" },
    { value: limit, color: "red" },
  ]);
}

/** Lines over time. @param about what it says, and what to think of it */
export function graph(
  title: string,
  about: string,
  lines: readonly Line[],
  { unit = "short", limit, width = THIRD, max }: PanelOptions = {},
): TimeSeriesBuilder {
  const panel = new TimeSeriesBuilder()
    .title(title)
    .description(about)
    .datasource(SOURCE)
    .unit(unit)
    .min(0)
    .height(HEIGHT)
    .span(width)
    .lineWidth(1)
    .fillOpacity(8)
    .legend(
      new VizLegendOptionsBuilder().displayMode(LegendDisplayMode.List).showLegend(true).calcs([]),
    )
    .targets(targetsOf(lines));
  if (max !== undefined) panel.max(max);
  if (limit !== undefined) panel.thresholds(thresholdsOf(limit));
  return panel;
}

/** One figure: the latest. */
export function figure(
  title: string,
  about: string,
  line: Line,
  { unit = "short", limit, width = 4 }: PanelOptions = {},
): StatBuilder {
  const panel = new StatBuilder()
    .title(title)
    .description(about)
    .datasource(SOURCE)
    .unit(unit)
    .height(4)
    .span(width)
    .targets(targetsOf([line]));
  if (limit !== undefined) panel.thresholds(thresholdsOf(limit));
  return panel;
}

export const row = (title: string): RowBuilder => new RowBuilder(title);

/** A vertical line wherever an expression has a value. */
export function mark(name: string, expression: string, text: string, color: string) {
  return new AnnotationQueryBuilder()
    .name(name)
    .datasource(SOURCE)
    .enable(true)
    .iconColor(color)
    .expr(expression)
    .step("15s")
    .titleFormat(name)
    .textFormat(text);
}

/** @param known a metric of the auctions that can be chosen; without it there is nothing to choose */
export function page(uid: string, title: string, about: string, known?: string): DashboardBuilder {
  const dashboard = new DashboardBuilder(title)
    .uid(`gavel-${uid}`)
    .description(about)
    .tags(["gavel"])
    .timezone("browser")
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: "now-30m", to: "now" })
    .refresh("10s")
    .readonly()
    .withVariable(new DatasourceVariableBuilder("source").label("source").type("prometheus"));
  if (known === undefined) return dashboard;
  return dashboard
    .withVariable(choice("namespace", `label_values(${known}, namespace)`))
    .withVariable(choice("auction", `label_values(${known}{namespace=~"$namespace"}, auction)`));
}

/** "All" also fits series without the label: those of one machine. */
function choice(name: string, query: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(name)
    .datasource(SOURCE)
    .query(query)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ text: "All", value: "$__all" })
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);
}
