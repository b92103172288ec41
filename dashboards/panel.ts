/** Builders for panels and dashboards: the settings that all of them share. */
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

const SOURCE = { type: "prometheus", uid: "${source}" } as const;

/** Of Grafana's 24 columns. */
const THIRD = 8;
const HEIGHT = 8;

/** A query, and the legend of its series. */
export type Line = readonly [expression: string, legend: string];

interface PanelOptions {
  /** A unit of Grafana: "s", "bytes", "short", "percentunit" … */
  readonly unit?: string;
  /** Values from here on are shown in red. */
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

/** A time series panel. */
export function graph(
  title: string,
  description: string,
  lines: readonly Line[],
  { unit = "short", limit, width = THIRD, max }: PanelOptions = {},
): TimeSeriesBuilder {
  const panel = new TimeSeriesBuilder()
    .title(title)
    .description(description)
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

/** A panel with the latest value. */
export function stat(
  title: string,
  description: string,
  line: Line,
  { unit = "short", limit, width = 4 }: PanelOptions = {},
): StatBuilder {
  const panel = new StatBuilder()
    .title(title)
    .description(description)
    .datasource(SOURCE)
    .unit(unit)
    .height(4)
    .span(width)
    .targets(targetsOf([line]));
  if (limit !== undefined) panel.thresholds(thresholdsOf(limit));
  return panel;
}

export const row = (title: string): RowBuilder => new RowBuilder(title);

/** A vertical line at each time at which an expression has a value. */
export function annotation(name: string, expression: string, text: string, color: string) {
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

/** @param metric exists for each auction that can be selected; without it the dashboard has no selection */
export function newDashboard(
  uid: string,
  title: string,
  description: string,
  metric?: string,
): DashboardBuilder {
  const dashboard = new DashboardBuilder(title)
    .uid(`gavel-${uid}`)
    .description(description)
    .tags(["gavel"])
    .timezone("browser")
    .tooltip(DashboardCursorSync.Crosshair)
    .time({ from: "now-30m", to: "now" })
    .refresh("10s")
    .readonly()
    .withVariable(new DatasourceVariableBuilder("source").label("source").type("prometheus"));
  if (metric === undefined) return dashboard;
  return dashboard
    .withVariable(selection("namespace", `label_values(${metric}, namespace)`))
    .withVariable(
      selection("auction", `label_values(${metric}{namespace=~"$namespace"}, auction)`),
    );
}

/** "All" also matches series without the label, as `make up` produces. */
function selection(name: string, query: string): QueryVariableBuilder {
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
