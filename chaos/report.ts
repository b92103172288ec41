/** Writes the report of an experiment as Markdown, JSON and SVG. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Report } from "./experiment.ts";
import { percentile, type Window } from "./measure.ts";
import { plotOf } from "./plot.ts";

export const FOLDER = fileURLToPath(new URL("reports", import.meta.url));
const MARKS = { held: "held", broken: "**BROKEN**", "not judged": "_not judged_" } as const;

/** @returns the Markdown's path */
export function writeReport(report: Report, folder = FOLDER): string {
  mkdirSync(folder, { recursive: true });
  const at = (ending: string) => join(folder, `${report.scenario}.${ending}`);
  writeFileSync(at("json"), `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(at("svg"), plotOf(report));
  writeFileSync(at("md"), markdownOf(report));
  return at("md");
}

export function markdownOf(report: Report): string {
  const { scenario, hypothesis, outcome, findings, rounds, counts, settings } = report;
  const lines = [
    `# ${scenario}: ${MARKS[outcome]}`,
    "",
    ...hypothesis.split("\n").map((line) => `> ${line}`),
    "",
    `${settings.bidsPerSecond} bids/s due, ${settings.viewers} viewers, ${rounds.length} rounds; ${report.startedAt}, ${report.cluster} with ${report.cores} cores for everything. SEED=${settings.seed}.`,
    "",
    `![rate and latency](${scenario}.svg)`,
    "",
    "| what must hold | | measured |",
    "| --- | --- | --- |",
    ...findings.map(({ what, judged, why }) => `| ${what} | ${MARKS[judged]} | ${why} |`),
    "",
    ...(report.undisturbedP99Ms === null
      ? []
      : [
          `In the calm windows a pod that has nothing to do with the auction is killed in the same way; with nothing killed p99 is ${report.undisturbedP99Ms} ms.`,
          "",
        ]),
    "| round | p99 calm | p99 with the fault | unknown | refused | bids back | pods back | archive | viewers back (p95) |",
    "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rounds.map((round, i) => {
      const back = round.viewersBackMs;
      const viewers = back.length === 0 ? "" : ` (${percentile(back, 0.95)} ms)`;
      return `| ${i + 1} | ${p99sOf(round.calm)} ms | ${p99sOf(round.faulty)} ms | ${round.failed.unknown} | ${round.failed.refused} | ${took(round.bidsBackMs)} | ${took(round.podsBackMs)} | ${took(round.archiveMs)} | ${back.length}/${round.viewersBroken}${viewers} |`;
    }),
    "",
    "What proves that the fault happened:",
    "",
    ...rounds.flatMap(({ seen }, i) => seen.map((line) => `- round ${i + 1}: ${line}`)),
    "",
    `The checker: ${counts.records} records, ${counts.acknowledged} bids acknowledged, ${counts.rejected} rejected, ${counts.frames} frames; lost ${counts.lost}, duplicated ${counts.duplicated}, misordered ${counts.misordered}; ${counts.viewersComplete} of ${counts.viewers} viewers complete.`,
    ...report.verdicts.map(({ verdict, lotId, detail }) => `- ${verdict} ${lotId}: ${detail}`),
    "",
  ];
  return lines.join("\n");
}

const took = (ms: number): string => (ms === Infinity ? "not seen" : `${ms} ms`);

function p99sOf(windows: readonly Window[]): string {
  const all = windows.map(({ p99Ms }) => p99Ms);
  return all.length > 1 ? `${Math.min(...all)} to ${Math.max(...all)}` : `${all[0]}`;
}
