/** The files that are made of the alerts: rules for Prometheus, and the runbook. */
import { stringify } from "yaml";
import { ALERTS } from "./alerts.ts";
import { RECORDINGS } from "./objectives.ts";
import { type Alert, type Alerting, anchorOf, type RuleGroup } from "./rule.ts";

const HEAD =
  "# Written by `make generate` from dashboards/alerts.ts and objectives.ts: change it there.\n";

/** Beside alerts.yaml; the chart puts its own place before the #. */
export const RUNBOOK = "RUNBOOK.md";

export function alertingOf({ name, expr, for: held, severity, summary }: Alert): Alerting {
  return {
    alert: name,
    expr,
    for: held,
    labels: { severity },
    annotations: { summary, runbook_url: `${RUNBOOK}#${anchorOf(name)}` },
  };
}

export const GROUPS: readonly RuleGroup[] = [
  RECORDINGS,
  { name: "gavel-alerts", rules: ALERTS.map(alertingOf) },
];

export const rulesText = (): string => HEAD + stringify({ groups: GROUPS }, { lineWidth: 0 });

export function runbookText(): string {
  const sections = ALERTS.map(
    ({ name, severity, summary, means, look, act }) =>
      `## ${name}\n\n*${severity}.* ${summary}\n\n**It means.** ${means}\n\n**Look at.** ${look}\n\n**Do.** ${act}\n`,
  );
  return `# Runbook

Written by \`make generate\` from dashboards/alerts.ts and objectives.ts: change it there. One section an
alert. A *page* is for now, a *ticket* for today. Names in quotation marks are panels of the dashboards
in this folder.

${sections.join("\n")}`;
}
