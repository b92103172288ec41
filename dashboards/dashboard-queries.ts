/** The queries of all dashboards, for tests that check that each of them returns a value. */
import { DASHBOARDS, panelsOf } from "./dashboards.ts";
import { withVariables } from "./queries.ts";

export interface DashboardQuery {
  readonly where: string;
  readonly expression: string;
}

/** @param auction the auction selected above the dashboard; ".*" is "All" */
export function dashboardQueries(auction: string): DashboardQuery[] {
  return Object.entries(DASHBOARDS).flatMap(([name, dashboard]) => {
    const lines = panelsOf(dashboard).flatMap(({ title, targets }) =>
      targets.map(({ expr, legendFormat }) => ({ where: `${title}: ${legendFormat}`, expr })),
    );
    // An annotation has a value only while it is drawn. Its left side always has one.
    const annotations = (dashboard.annotations?.list ?? []).map((annotation) => {
      const expr = (annotation.expr ?? "").replace(/ (>|==) \d+$/, "");
      return { where: `annotation ${annotation.name}`, expr };
    });
    return [...lines, ...annotations].map(({ where, expr }) => ({
      where: `${name}: ${where}`,
      expression: withVariables(expr, { interval: "15s", namespace: ".*", auction }),
    }));
  });
}

/** Those of the queries that return no value. */
export async function queriesWithoutValue(
  query: (expression: string) => Promise<readonly { value: number }[]>,
  queries: readonly DashboardQuery[],
): Promise<DashboardQuery[]> {
  const results = await Promise.all(
    queries.map(async (one) => {
      const samples = await query(one.expression);
      return samples.some(({ value }) => !Number.isNaN(value)) ? [] : [one];
    }),
  );
  return results.flat();
}
