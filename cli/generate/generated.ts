/** Every file that `make generate` writes. A test compares each with its source. */
import { casesText } from "../../dashboards/alert-cases.ts";
import { DASHBOARDS, dashboardText } from "../../dashboards/dashboards.ts";
import { rulesText, runbookText } from "../../dashboards/rule-files.ts";
import { auctionReference } from "../../operator/api/auction-reference.ts";
import { crdTemplate, crdYaml } from "../../operator/api/crd.ts";
import { configurationText } from "./configuration.ts";
import { withContents } from "./table-of-contents.ts";
import { metricsText } from "../../dashboards/metrics-reference.ts";

interface GeneratedFile {
  /** Relative to the root of the repository. */
  readonly path: string;
  text(): string;
}

export const GENERATED: readonly GeneratedFile[] = [
  { path: "docs/configuration.md", text: () => withContents(configurationText()) },
  { path: "docs/auction.md", text: () => withContents(auctionReference()) },
  { path: "manifests/crd.yaml", text: crdYaml },
  { path: "charts/gavel-operator/templates/crd.yaml", text: crdTemplate },
  { path: "docs/metrics.md", text: () => withContents(metricsText()) },
  { path: "dashboards/alerts.yaml", text: rulesText },
  { path: "dashboards/alerts.test.yaml", text: () => casesText("alerts") },
  { path: "dashboards/slowly.test.yaml", text: () => casesText("slowly") },
  { path: "dashboards/RUNBOOK.md", text: runbookText },
  // Copies: a chart can only read files inside it.
  { path: "charts/gavel-operator/files/alerts.yaml", text: rulesText },
  ...Object.keys(DASHBOARDS).flatMap((name) =>
    ["dashboards", "charts/gavel-operator/files/dashboards"].map((folder) => {
      return { path: `${folder}/${name}.json`, text: () => dashboardText(name) };
    }),
  ),
];
