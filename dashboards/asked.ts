/** What all dashboards ask of a Prometheus, for tests that look whether it has an answer. */
import { DASHBOARDS, graphsOf } from "./all.ts";
import { filledIn } from "./queries.ts";

export interface Asked {
  readonly where: string;
  readonly expression: string;
}

/** @param auction what is chosen above the dashboard; ".*" is "All" */
export function asked(auction: string): Asked[] {
  return Object.entries(DASHBOARDS).flatMap(([name, dashboard]) => {
    const lines = graphsOf(dashboard).flatMap(({ title, targets }) =>
      targets.map(({ expr, legendFormat }) => ({ where: `${title}: ${legendFormat}`, expr })),
    );
    // A mark has a value only while it is to be drawn; what it compares has one always.
    const marks = (dashboard.annotations?.list ?? []).map(({ name: mark, expr = "" }) => {
      return { where: `mark ${mark}`, expr: expr.replace(/ (>|==) \d+$/, "") };
    });
    return [...lines, ...marks].map(({ where, expr }) => ({
      where: `${name}: ${where}`,
      expression: filledIn(expr, { interval: "15s", namespace: ".*", auction }),
    }));
  });
}

/** Those that have no value. */
export async function without(
  query: (expression: string) => Promise<readonly { value: number }[]>,
  all: readonly Asked[],
): Promise<Asked[]> {
  const answers = await Promise.all(
    all.map(async (one) => {
      const samples = await query(one.expression);
      return samples.some(({ value }) => !Number.isNaN(value)) ? [] : [one];
    }),
  );
  return answers.flat();
}
