/** Rate, failures and latency over time, with the faults marked, as an SVG that GitHub shows. Pure. */
import type { Point, Report } from "./experiment.ts";

const WIDTH = 960;
const HEIGHT = 180;
const LEFT = 60;
const GAP = 46;

interface Line {
  readonly name: string;
  readonly color: string;
  readonly of: (point: Point) => number | null;
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
}

const PANELS: readonly Panel[] = [
  {
    title: "bids decided and failed attempts, a second",
    lines: [
      { name: "decided", color: "#1f77b4", of: ({ decided }) => decided },
      { name: "failed", color: "#d62728", of: ({ failed }) => failed },
    ],
  },
  {
    title: "latency of bids from when they were due, ms",
    lines: [
      { name: "p50", color: "#2ca02c", of: ({ p50Ms }) => p50Ms },
      { name: "p99", color: "#9467bd", of: ({ p99Ms }) => p99Ms },
    ],
  },
  {
    title: "frames delivered a second, and viewers watching",
    lines: [
      { name: "frames", color: "#ff7f0e", of: ({ frames }) => frames },
      { name: "watching", color: "#17becf", of: ({ watching }) => watching },
    ],
  },
];

export function plotOf({ scenario, series, marks }: Pick<Report, "scenario" | "series" | "marks">) {
  const end = Math.max(1, series.at(-1)?.atSeconds ?? 1);
  const x = (seconds: number) => LEFT + (Math.max(0, seconds) / end) * (WIDTH - LEFT - 10);
  const panels = PANELS.map((panel, i) => {
    const top = 30 + i * (HEIGHT + GAP);
    const values = panel.lines.flatMap(({ of }) => series.map(of)).filter((v) => v !== null);
    const highest = Math.max(1, ...values);
    const y = (value: number) => top + HEIGHT - (value / highest) * HEIGHT;
    const shades = marks.map(
      ({ fromSeconds, toSeconds }) =>
        `<rect x="${x(fromSeconds).toFixed(1)}" y="${top}" width="${Math.max(2, x(toSeconds) - x(fromSeconds)).toFixed(1)}" height="${HEIGHT}" fill="#d62728" opacity="0.12"/>`,
    );
    const lines = panel.lines.map(({ color, of }) => {
      const points = series.flatMap((point) => {
        const value = of(point);
        return value === null ? [] : [`${x(point.atSeconds).toFixed(1)},${y(value).toFixed(1)}`];
      });
      return `<polyline fill="none" stroke="${color}" stroke-width="1.3" points="${points.join(" ")}"/>`;
    });
    const names = panel.lines.map(
      ({ name, color }, n) =>
        `<text x="${WIDTH - 170 + n * 85}" y="${top - 6}" fill="${color}">${name}</text>`,
    );
    return [
      `<text x="${LEFT}" y="${top - 6}" fill="#333">${panel.title}</text>`,
      ...names,
      ...shades,
      `<path d="M${LEFT} ${top}V${top + HEIGHT}H${WIDTH - 10}" fill="none" stroke="#999"/>`,
      `<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end" fill="#333">${Math.round(highest)}</text>`,
      `<text x="${LEFT - 6}" y="${top + HEIGHT}" text-anchor="end" fill="#333">0</text>`,
      ...lines,
    ].join("\n");
  });
  const height = 30 + PANELS.length * (HEIGHT + GAP);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<title>${scenario}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
${panels.join("\n")}
<text x="${WIDTH - 10}" y="${height - 8}" text-anchor="end" fill="#333">${Math.round(end)} s; shaded: from the fault until every pod was ready</text>
</svg>
`;
}
