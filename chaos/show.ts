/** Publishes an experiment: draws the dashboards, and annotates its faults in Grafana. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { drawDashboard } from "../dashboards/draw-dashboard.ts";
import type { Report } from "./experiment.ts";
import { FOLDER } from "./report.ts";
import { AUCTION, NAMESPACE } from "./scenario.ts";

const SHOWN = ["latency", "pipeline"] as const;
const ANSWER_MS = 10_000;
/** Until Prometheus has scraped the last values. */
const LAST_SCRAPE_SECONDS = 10;

type PublishedReport = Pick<Report, "scenario" | "outcome" | "seriesFrom" | "series" | "marks">;

/** @param prometheus its URL. @returns the pictures' paths. @throws Error when it does not answer */
export async function drawDashboards(
  { scenario, seriesFrom, series, marks }: PublishedReport,
  prometheus: string,
): Promise<string[]> {
  const zero = Date.parse(seriesFrom) / 1_000;
  const end = zero + (series.at(-1)?.atSeconds ?? 0) + LAST_SCRAPE_SECONDS;
  const files: string[] = [];
  for (const name of SHOWN) {
    const picture = await drawDashboard(name, {
      url: prometheus,
      auction: AUCTION,
      namespace: NAMESPACE,
      fromSeconds: Math.floor(zero),
      toSeconds: Math.ceil(end),
      marks: marks.map(({ fromSeconds, toSeconds }) => ({
        fromSeconds: zero + fromSeconds,
        toSeconds: zero + toSeconds,
      })),
    });
    const file = join(FOLDER, `${scenario}-${name}.svg`);
    writeFileSync(file, picture);
    files.push(file);
  }
  return files;
}

/**
 * A region on every dashboard of Grafana for each fault, tagged `gavel`, `chaos` and the scenario.
 * @param token of a service account that may write annotations
 * @throws Error where Grafana refuses
 */
export async function annotate(
  { scenario, outcome, seriesFrom, marks }: PublishedReport,
  grafana: string,
  token: string,
): Promise<void> {
  const zeroMs = Date.parse(seriesFrom);
  for (const { fromSeconds, toSeconds } of marks) {
    const answer = await fetch(new URL("api/annotations", `${grafana.replace(/\/$/, "")}/`), {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({
        time: Math.round(zeroMs + fromSeconds * 1_000),
        timeEnd: Math.round(zeroMs + toSeconds * 1_000),
        tags: ["gavel", "chaos", scenario],
        text: `${scenario}: ${outcome}`,
      }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!answer.ok) throw new Error(`Grafana: ${answer.status} ${await answer.text()}`);
  }
}
