/** Draws time series as an SVG picture, for reports and for machines without Grafana. Pure. */

export interface Line {
  readonly name: string;
  /** In order of time. null: the line has a gap. */
  readonly points: readonly (readonly [seconds: number, value: number | null])[];
}

export interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** Formats a value for the axis. */
  readonly format?: (value: number) => string;
}

export interface Picture {
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly columns: number;
  /** The time range, in the seconds of the points. */
  readonly span: readonly [fromSeconds: number, toSeconds: number];
  /** Shaded time ranges. */
  readonly marks: readonly { readonly fromSeconds: number; readonly toSeconds: number }[];
  readonly note: string;
}

const WIDTH = 960;
const PLOT_HEIGHT = 150;
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 14, 40, 18];
const HEADER = 34;
const COLORS =
  "#1f77b4 #d62728 #2ca02c #9467bd #ff7f0e #17becf #8c564b #e377c2 #7f7f7f #bcbd22".split(" ");
/** As many names as fit above a panel. */
const NAMES_MAX = 10;

export function pictureOf({ title, panels, columns, span, marks, note }: Picture): string {
  const rows = Math.ceil(panels.length / columns);
  const height = HEADER + rows * (TOP + PLOT_HEIGHT + BOTTOM) + 24;
  const drawn = panels.map((panel, i) => {
    const left = (i % columns) * (WIDTH / columns);
    const top = HEADER + Math.floor(i / columns) * (TOP + PLOT_HEIGHT + BOTTOM);
    return `<g transform="translate(${left} ${top})">\n${panelOf(panel, WIDTH / columns, span, marks)}\n</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<title>${escaped(title)}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="${LEFT}" y="22" font-size="15" fill="#333">${escaped(title)}</text>
${drawn.join("\n")}
<text x="${WIDTH - RIGHT}" y="${height - 8}" text-anchor="end" fill="#333">${escaped(note)}</text>
</svg>
`;
}

function panelOf(
  { title, lines, format = formatted }: Panel,
  width: number,
  [from, to]: Picture["span"],
  marks: Picture["marks"],
): string {
  const right = width - RIGHT;
  const bottom = TOP + PLOT_HEIGHT;
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value ?? 0));
  const highest = Math.max(0, ...values.filter(Number.isFinite)) || 1;
  const x = (seconds: number) =>
    LEFT + (Math.min(Math.max(seconds, from), to) - from) * ((right - LEFT) / (to - from || 1));
  const y = (value: number) => bottom - (value / highest) * PLOT_HEIGHT;
  const shades = marks.map(({ fromSeconds, toSeconds }) => {
    const [start, wide] = [x(fromSeconds), Math.max(2, x(toSeconds) - x(fromSeconds))];
    return `<rect x="${fixed(start)}" y="${TOP}" width="${fixed(wide)}" height="${PLOT_HEIGHT}" fill="#d62728" opacity="0.12"/>`;
  });
  const drawn = lines.flatMap(({ points }, n) =>
    runsOf(points).map(
      (run) =>
        `<polyline fill="none" stroke="${colorOf(n)}" stroke-width="1.3" stroke-linecap="round" points="${run
          .map(([seconds, value]) => `${fixed(x(seconds))},${fixed(y(value))}`)
          .join(" ")}"/>`,
    ),
  );
  const shown = lines.slice(0, NAMES_MAX).map(({ name }, n) => {
    return `<tspan fill="${colorOf(n)}">${escaped(name)}</tspan>`;
  });
  const more = lines.length > NAMES_MAX ? ` and ${lines.length - NAMES_MAX} more` : "";
  return [
    `<text x="${LEFT}" y="${TOP - 20}" fill="#333" font-weight="bold">${escaped(title)}</text>`,
    `<text x="${LEFT}" y="${TOP - 6}" font-size="10">${shown.join("  ")}${more}</text>`,
    ...shades,
    `<path d="M${LEFT} ${TOP}V${bottom}H${fixed(right)}" fill="none" stroke="#999"/>`,
    `<text x="${LEFT - 6}" y="${TOP + 9}" text-anchor="end" fill="#333">${escaped(format(highest))}</text>`,
    `<text x="${LEFT - 6}" y="${bottom}" text-anchor="end" fill="#333">0</text>`,
    ...drawn,
  ].join("\n");
}

/** The parts of a line between its gaps. A single point is doubled, so that it is drawn as a dot. */
function runsOf(points: Line["points"]): (readonly [number, number])[][] {
  const runs: (readonly [number, number])[][] = [[]];
  for (const [seconds, value] of points) {
    if (value !== null && Number.isFinite(value)) runs.at(-1)!.push([seconds, value]);
    else if (runs.at(-1)!.length > 0) runs.push([]);
  }
  return runs
    .filter((run) => run.length > 0)
    .map((run) => (run.length === 1 ? [run[0]!, run[0]!] : run));
}

const colorOf = (n: number): string => COLORS[n % COLORS.length]!;
const fixed = (value: number): string => value.toFixed(1);
const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
/** With three digits, and a unit prefix from a thousand on. */
function formatted(value: number): string {
  const power = Math.max(0, Math.min(3, Math.floor(Math.log10(value || 1) / 3)));
  const digits = Number((value / 1_000 ** power).toPrecision(3));
  return [`${digits}`, `${digits} k`, `${digits} M`, `${digits} G`][power]!;
}
