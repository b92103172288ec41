import { expect, test } from "vitest";
import type { Report } from "./experiment.ts";
import { plotOf } from "./plot.ts";
import { markdownOf } from "./report.ts";

const WINDOW = {
  seconds: 15,
  due: 450,
  decided: 450,
  refused: 0,
  unknown: 0,
  dropped: 0,
  viewersBroken: 0,
  decidedPerSecond: 30,
  framesPerSecond: 870,
  p50Ms: 6,
  p99Ms: 41.5,
};

const REPORT: Report = {
  scenario: "nats-killed",
  hypothesis: "Hypothesis: it holds.\nAnd so on.",
  cluster: "kind-x",
  cores: 2,
  undisturbedP99Ms: 17.5,

  outcome: "broken",
  seriesFrom: "2026-01-01T00:00:00.000Z",
  startedAt: "2026-01-01T00:00:00.000Z",
  verdicts: [],
  findings: [{ what: "no bid fails", judged: "broken", why: "at most 2 of unknown fate" }],
  settings: { bidsPerSecond: 30, viewers: 500, seed: 7, durationSeconds: undefined },
  rounds: [
    {
      calm: [WINDOW],
      faulty: [WINDOW, { ...WINDOW, p99Ms: 99 }],
      seen: ["it is gone"],
      failed: { refused: 0, unknown: 2, overHttp: 1 },
      bidsBackMs: 1_200,
      podsBackMs: 4_000,
      archiveMs: 900,
      viewersBroken: 2,
      viewersBackMs: [800, 900],
      unrelayedEvents: 0,
      epochs: [1, 1],
      restarted: [],
      checks: [],
    },
  ],
  counts: {
    lots: 20,
    events: 900,
    bids: 880,
    records: 9_000,
    reads: 0,
    frames: 8_000,
    lost: 0,
    acknowledged: 880,
    rejected: 9,
    refused: 0,
    duplicated: 0,
    misordered: 0,
    verdicts: {},
    unknown: { resolved: 2, unresolved: 0 },
    viewers: 500,
    viewersComplete: 500,
  },
  series: [0, 1, 2].map((atSeconds) => ({
    atSeconds,
    decided: 30,
    failed: atSeconds,
    p50Ms: atSeconds === 1 ? null : 6,
    p99Ms: 40,
    frames: 870,
    watching: 500,
  })),
  marks: [{ fromSeconds: 1, toSeconds: 2 }],
};

test("a report shows hypothesis, measurements and the proof of each fault", () => {
  const text = markdownOf(REPORT);
  expect(text).toContain("# nats-killed: **BROKEN**");
  expect(text).toContain("> Hypothesis: it holds.\n> And so on.");
  expect(text).toContain("| no bid fails | **BROKEN** | at most 2 of unknown fate |");
  expect(text).toContain("| 1 | 41.5 ms | 41.5 to 99 ms | 2 | 0 | 1200 ms | 4000 ms | 900 ms |");
  expect(text).toContain("- round 1: it is gone");
  expect(text).toContain("with nothing killed p99 is 17.5 ms");
  expect(text).not.toMatch(/undefined|NaN/);
});

test("a plot marks the fault, and has a gap in seconds without decided bids", () => {
  const svg = plotOf(REPORT);
  expect(svg.match(/<polyline/g)).toHaveLength(7);
  expect(svg.match(/opacity="0.12"/g)).toHaveLength(3);
  expect(svg).not.toMatch(/undefined|NaN|Infinity/);
  expect(plotOf({ ...REPORT, series: [], marks: [] })).not.toMatch(/undefined|NaN|Infinity/);
});
