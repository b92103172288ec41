/** Every dashboard, by the name of its file. */
import type { Dashboard } from "@grafana/grafana-foundation-sdk/dashboard";
import { auctionFloor } from "./auction-floor.ts";
import { chaos } from "./chaos.ts";
import { latency } from "./latency.ts";
import { operator } from "./operator.ts";
import { pipeline } from "./pipeline.ts";
import { tiers } from "./tiers.ts";

export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  "auction-floor": auctionFloor.build(),
  latency: latency.build(),
  pipeline: pipeline.build(),
  tiers: tiers.build(),
  operator: operator.build(),
  chaos: chaos.build(),
};

/** A panel that has queries. */
export interface QueryPanel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

/** The panels of a dashboard, without its row headings. */
export function panelsOf({ panels }: Dashboard): QueryPanel[] {
  return ((panels ?? []) as unknown as QueryPanel[]).filter(({ targets }) => targets !== undefined);
}

export function dashboardText(name: string): string {
  return `${JSON.stringify(DASHBOARDS[name], null, 2)}\n`;
}
