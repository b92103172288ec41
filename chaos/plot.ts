/** Draws rate, failures and latency of an experiment over time, with the faults shaded. Pure. */
import { type Panel, pictureOf } from "../dashboards/picture.ts";
import type { Point, Report } from "./experiment.ts";

type Value = (point: Point) => number | null;

const PANELS: readonly (readonly [title: string, lines: Readonly<Record<string, Value>>])[] = [
  [
    "bids decided and failed attempts, a second",
    { decided: ({ decided }) => decided, failed: ({ failed }) => failed },
  ],
  [
    "latency of bids from when they were due, ms",
    { p50: ({ p50Ms }) => p50Ms, p99: ({ p99Ms }) => p99Ms },
  ],
  [
    "frames delivered a second, and viewers watching",
    { frames: ({ frames }) => frames, watching: ({ watching }) => watching },
  ],
];

export function plotOf({ scenario, series, marks }: Pick<Report, "scenario" | "series" | "marks">) {
  const end = Math.max(1, series.at(-1)?.atSeconds ?? 1);
  const panels = PANELS.map(([title, lines]): Panel => ({
    title,
    lines: Object.entries(lines).map(([name, value]) => ({
      name,
      points: series.map((point) => [point.atSeconds, value(point)]),
    })),
  }));
  const note = `${Math.round(end)} s; shaded: from the fault until every pod was ready`;
  return pictureOf({ title: scenario, panels, columns: 1, span: [0, end], marks, note });
}
